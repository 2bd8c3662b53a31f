"""The contact sheet shows a test clip of each action, and its animation all frames that the model reads."""

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import run_tool
from PIL import Image

from glimpse.tools import contact_sheet


def test_the_sheet_has_a_row_for_each_action(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(trained)
    run_tool(contact_sheet, tmp_path / "sheet.png")
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    actions = pd.read_csv("data/split.csv")["action"].nunique()
    row = contact_sheet.THUMBNAIL_HEIGHT + contact_sheet.MARGIN
    assert sheet.shape[0] == 18 + contact_sheet.MARGIN + actions * row and sheet.shape[1] > 10 * 100
    rows = sheet[18 + contact_sheet.MARGIN :].reshape(actions, row, -1)
    assert all(np.ptp(pixels) > 100 for pixels in rows)


def test_the_animation_shows_every_frame_that_is_read_and_is_small(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    run_tool(contact_sheet, tmp_path / "sheet.gif")
    assert (tmp_path / "sheet.gif").stat().st_size < 1_000_000
    clips = contact_sheet.ANIMATED_CLIPS
    with Image.open(tmp_path / "sheet.gif") as image:
        assert image.n_frames == 10 * clips and image.info["loop"] == 0
        durations = []
        for number in range(image.n_frames):
            image.seek(number)
            durations.append(image.info["duration"])
    assert durations == ([contact_sheet.FRAME_MS] * 9 + [contact_sheet.LAST_FRAME_MS]) * clips
    assert f"{clips} clips in" in capsys.readouterr().out


def test_other_kinds_of_pictures_are_refused(tmp_path):
    with pytest.raises(SystemExit, match="sheet.jpg: expected a name that ends in .png or .gif"):
        run_tool(contact_sheet, tmp_path / "sheet.jpg")

"""Real bytes, mutated: every file is used or named, whatever the damage. Run by `make torture`.

GLIMPSE_MUTATIONS: how many files (100); GLIMPSE_ODD: a folder with more files to start from.
"""

import os
import re
import struct
import sys
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, grey_levels, peak_of, write_clip, write_params

import demo
from glimpse.frames.dataset import has_clip_name

MUTATIONS = int(os.environ.get("GLIMPSE_MUTATIONS", 100))
ODD = Path(os.environ.get("GLIMPSE_ODD", "not given"))
CODECS = {
    ".mp4": "mp4v",
    ".mkv": "mp4v",
    ".webm": "VP80",
    ".mpg": "MPG1",
    ".wmv": "WMV2",
    ".flv": "FLV1",
    ".ts": "mp4v",
}
LIMIT = 60  # seconds for one clip
MOST_MEMORY = 2000  # MB


def originals(folder):
    """Good clips in several formats, and the real odd files if they are there: [(suffix, bytes)]."""
    demo.write_clip(folder / "demo.avi", "wave", 0, 1, seed=0)
    write_clip(folder / "plain.avi", grey_levels(30))
    for suffix, codec in CODECS.items():
        writer = cv2.VideoWriter(
            str(folder / f"plain{suffix}"), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 25, (64, 48)
        )
        if not writer.isOpened():  # not every OpenCV has every codec
            continue
        for level in grey_levels(30):
            writer.write(np.full((48, 64, 3), level, np.uint8))
        writer.release()
    odd = [file for file in ODD.glob("*") if has_clip_name(file) and file.stat().st_size]
    return [(file.suffix, file.read_bytes()) for file in sorted([*folder.iterdir(), *odd])]


def header(content, rng):
    """Up to eight bytes of the header are others."""
    for place in rng.integers(0, min(len(content), 400), rng.integers(1, 9)):
        content[place] = rng.integers(256)


def length(content, rng):
    """A number near the start, often the length of a part or of the picture, is an extreme one."""
    place = int(rng.integers(0, min(len(content), 4096)))
    number = int(rng.choice([0, 1, 255, 16383, 65535, 100_000, 2**31 - 1, 2**31, 2**32 - 1]))
    content[place : place + 4] = struct.pack(rng.choice(["<I", ">I"]), number)


def flips(content, rng):
    """Up to one byte in fifty is another."""
    count = int(len(content) * 10 ** rng.uniform(-4, -1.7)) + 1
    for place in rng.integers(0, len(content), count):
        content[place] ^= 1 << rng.integers(8)


def truncation(content, rng):
    del content[rng.integers(len(content)) :]


def hole(content, rng):
    """A stretch is missing, or zeros."""
    start, end = sorted(rng.integers(0, len(content), 2))
    content[start:end] = bytes(int(end - start)) if rng.random() < 0.5 else b""


def garbage(content, rng):
    """Something else stands in the middle."""
    place = int(rng.integers(len(content)))
    content[place:place] = rng.bytes(int(rng.integers(1, 5000)))


KINDS = (header, length, flips, truncation, hole, garbage)


@pytest.mark.torture
def test_every_mutated_file_is_used_or_named(tmp_path):
    (tmp_path / "originals").mkdir()
    sources, names = originals(tmp_path / "originals"), set()
    for number in range(MUTATIONS):
        rng = np.random.default_rng([0, number])
        suffix, content = sources[rng.integers(len(sources))]
        content, kind = bytearray(content), KINDS[number % len(KINDS)]
        kind(content, rng)
        name = f"{'up' if number % 2 else 'down'}/{number:05d} {kind.__name__}{suffix}"
        (tmp_path / "clips" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "clips" / name).write_bytes(content)
        names.add(name)
    for number in range(MUTATIONS):  # so that the good clips are always enough for the stage to go on
        shown = [number % 250, number // 250, 99]
        names.add(f"good/{write_clip(tmp_path / f'clips/good/{number:05d}.avi', shown).name}")
    write_params(tmp_path, dataset="clips", candidates=6, store_size=32, frames=5)
    began = time.monotonic()
    printed, peak = peak_of([sys.executable, ROOT / "src/frames.py", "--workers", "2", "--limit", LIMIT], tmp_path)
    spent = time.monotonic() - began
    strange = [line for line in printed.splitlines() if not line.startswith("frames: ")]
    assert not strange and "frames each, in data/frames/" in printed, printed
    used = pd.read_csv(tmp_path / "data/clips.csv")
    rejected = pd.read_csv(tmp_path / "data/rejected.csv")
    assert sorted([*used["clip"], *rejected["clip"]]) == sorted(names)
    assert sum(used["clip"].str.startswith("good/")) == MUTATIONS
    reasons = Counter(re.sub(r"duplicate of .*|\d+", "…", reason) for reason in rejected["reason"])
    damaged = (used["min_decoded"] < 1).sum()
    print(
        f"\n{MUTATIONS} files: {len(used) - MUTATIONS} used ({damaged} of them not whole), {len(rejected)} rejected, "
        f"in {spent:.0f} s, at most {peak:.0f} MB"
    )
    for reason, count in reasons.most_common():
        print(f"{count:6} {reason}")
    assert peak < MOST_MEMORY
    assert not any(reason.startswith("not decoded within") for reason in reasons)

"""Mutated video files: every one is used or listed with a reason, whatever the damage. Run by `make torture`.

GLIMPSE_MUTATIONS: number of files (100); GLIMPSE_ODD: a folder with more files to mutate.
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
from conftest import ROOT, grey_levels, peak_memory, write_clip, write_params

from glimpse.demo import draw
from glimpse.frames.find_clips import has_clip_name

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
TIMEOUT = 60  # seconds to decode one clip
MAX_MEMORY = 2000  # MB


def originals(folder):
    """Valid clips in several formats, and the real odd files if they exist: [(suffix, bytes)]."""
    draw.write_clip(folder / "demo.avi", "wave", 0, 1, seed=0)
    write_clip(folder / "plain.avi", grey_levels(30))
    for suffix, codec in CODECS.items():
        writer = cv2.VideoWriter(
            str(folder / f"plain{suffix}"), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 25, (64, 48)
        )
        if not writer.isOpened():  # not every build of OpenCV has every codec
            continue
        for level in grey_levels(30):
            writer.write(np.full((48, 64, 3), level, np.uint8))
        writer.release()
    odd = [file for file in ODD.glob("*") if has_clip_name(file) and file.stat().st_size]
    return [(file.suffix, file.read_bytes()) for file in sorted([*folder.iterdir(), *odd])]


def header(content, rng):
    """Up to eight bytes of the header change."""
    for offset in rng.integers(0, min(len(content), 400), rng.integers(1, 9)):
        content[offset] = rng.integers(256)


def length(content, rng):
    """A number near the start, often a length or a frame size, becomes an extreme one."""
    offset = int(rng.integers(0, min(len(content), 4096)))
    number = int(rng.choice([0, 1, 255, 16383, 65535, 100_000, 2**31 - 1, 2**31, 2**32 - 1]))
    content[offset : offset + 4] = struct.pack(rng.choice(["<I", ">I"]), number)


def flips(content, rng):
    """One bit flips in up to one byte in fifty."""
    count = int(len(content) * 10 ** rng.uniform(-4, -1.7)) + 1
    for offset in rng.integers(0, len(content), count):
        content[offset] ^= 1 << rng.integers(8)


def truncation(content, rng):
    del content[rng.integers(len(content)) :]


def hole(content, rng):
    """A range of bytes is missing, or zero."""
    start, end = sorted(rng.integers(0, len(content), 2))
    content[start:end] = bytes(int(end - start)) if rng.random() < 0.5 else b""


def garbage(content, rng):
    """Random bytes are inserted."""
    offset = int(rng.integers(len(content)))
    content[offset:offset] = rng.bytes(int(rng.integers(1, 5000)))


KINDS = (header, length, flips, truncation, hole, garbage)


@pytest.mark.torture
def test_every_mutated_file_is_used_or_listed(tmp_path):
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
    for number in range(MUTATIONS):  # enough valid clips for the stage to continue
        levels = [number % 250, number // 250, 99]
        names.add(f"good/{write_clip(tmp_path / f'clips/good/{number:05d}.avi', levels).name}")
    write_params(tmp_path, dataset="clips", candidates=6, frame_size=32, frames=5)
    start = time.monotonic()
    command = [sys.executable, ROOT / "src/frames.py", "--workers", "2", "--timeout", TIMEOUT]
    printed, peak = peak_memory(command, tmp_path)
    seconds = time.monotonic() - start
    unexpected = [line for line in printed.splitlines() if not line.startswith("frames: ")]
    assert not unexpected and "frames each, in data/frames/" in printed, printed
    used = pd.read_csv(tmp_path / "data/clips.csv")
    rejected = pd.read_csv(tmp_path / "data/rejected.csv")
    assert sorted([*used["clip"], *rejected["clip"]]) == sorted(names)
    assert sum(used["clip"].str.startswith("good/")) == MUTATIONS
    reasons = Counter(re.sub(r"duplicate of .*|\d+", "…", reason) for reason in rejected["reason"])
    damaged = (used["decoded_fraction"] < 1).sum()
    print(
        f"\n{MUTATIONS} files: {len(used) - MUTATIONS} used ({damaged} of them damaged), {len(rejected)} rejected, "
        f"in {seconds:.0f} s, at most {peak:.0f} MB"
    )
    for reason, count in reasons.most_common():
        print(f"{count:6} {reason}")
    assert peak < MAX_MEMORY
    assert not any(reason.startswith("not decoded within") for reason in reasons)

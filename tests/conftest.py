"""Shared by several tests: generated clips with known frames, and a small project in which all stages are done."""

import argparse
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

import demo
import duplicates
import evaluate
import features
import frames
import report
import split
import train
from glimpse.core.params_file import load_params, with_overrides
from glimpse.features.backbone import FEATURE_DIM

ROOT = Path(__file__).parents[1]
# A job in the background ignores Ctrl-C, and so would the processes to which tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)
SMALL = {
    "demo.actors": 8,
    "demo.repetitions": 2,
    "features.augmented_views": 1,
    "features.input_size": 128,
    "train.epochs": 60,
}


def grey_levels(count):
    """One grey level per frame of a generated clip, far enough apart to survive compression."""
    return np.linspace(20, 235, count).round().astype(int)


def write_clip(path, levels, width=64, height=48, fps=25):
    """A Motion JPEG clip of plain grey frames, with a lighter right third so that left and right differ."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"), fps, (width, height))
    assert writer.isOpened()
    for level in levels:
        frame = np.full((height, width, 3), level, np.uint8)
        frame[:, width * 2 // 3 :] = min(255, level + 20)
        writer.write(frame)
    writer.release()
    return path


def write_params(folder, **changes):
    """params.yaml in `folder`: the project's own, with changes such as {"train.epochs": 2}."""
    (folder / "params.yaml").write_text(yaml.safe_dump(with_overrides(load_params(ROOT / "params.yaml"), changes)))


def run_tool(tool, *arguments):
    """Run a module of glimpse.tools as `glimpse` would, with these command-line arguments."""
    parser = argparse.ArgumentParser()
    tool.add_arguments(parser)
    tool.run(parser.parse_args([*map(str, arguments)]))


def peak_memory(command, folder):
    """Run a command; returns what it prints, both streams, and the peak memory of it or one of its processes in MB."""
    code = (  # a process in between, since a process starts with the peak of the one it was forked from
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], stderr=subprocess.STDOUT)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, "-c", code, *map(str, command)]
    printed = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True).stdout
    printed, _, peak = printed.rstrip("\n").rpartition("\n")
    return printed, int(peak) / (1000 if sys.platform == "linux" else 1e6)


STAGES = {
    "demo": demo, "frames": frames, "duplicates": duplicates, "split": split,
    "features": features, "train": train, "evaluate": evaluate, "report": report,
}  # fmt: skip


@pytest.fixture
def stage(monkeypatch):
    """Run a stage's main() in a folder, as DVC would: stage(folder, "train", "first5")."""

    def run(folder, name, *arguments):
        with monkeypatch.context() as patch:
            patch.chdir(folder)
            patch.setattr(sys, "argv", [f"{name}.py", *arguments])
            STAGES[name].main()

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A small project, all stages but report done: 8 actors, 2 clips each of every action. Read only: see `copied`."""
    folder = tmp_path_factory.mktemp("trained")
    write_params(folder, **SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, *arguments in (
            ["demo"], ["frames"], ["duplicates"], ["split"], ["features"],
            ["train", "first5"], ["train", "all10"], ["evaluate"],
        ):  # fmt: skip
            patch.setattr(sys, "argv", [f"{name}.py", *arguments])
            STAGES[name].main()
    return folder


@pytest.fixture(scope="session")
def frames_alone(trained, tmp_path_factory):
    """The small project with all10 trained on RGB frames alone, whose best possible accuracy on the demo is known."""
    folder = Path(shutil.copytree(trained, tmp_path_factory.mktemp("alone") / "frames"))
    write_params(folder, **SMALL, **{"features.rgb_diff": False, "features.flow": False})
    np.save(folder / "data/features.npy", np.load(folder / "data/features.npy")[..., :FEATURE_DIM])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["train.py", "all10"])
        train.main()
    return folder


@pytest.fixture
def copied(trained, tmp_path):
    """A copy of the small project that a test may change."""
    return Path(shutil.copytree(trained, tmp_path / "copied"))

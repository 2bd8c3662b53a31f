"""Benchmarks of the whole pipeline, run by DVC in a temporary copy of the project, and of its peak memory."""

import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil  # comes with DVC

from glimpse.core.files import read_table
from glimpse.core.settings import APPROACHES
from glimpse.tools.benchmarks.throughput import Row, Workload

ROOT = Path(__file__).resolve().parents[4]
COPIED = ("src", "params.yaml", "dvc.yaml", ".dvcignore", "data/groups.csv", "data/labels.csv", "data/lists")
SET_UP = (
    "git init -q", "git config user.name bench", "git config user.email bench@localhost", "dvc init -q",
    "dvc config core.analytics false", "git add -A", "git commit -qm bench",
)  # fmt: skip
STEPS = {
    "Glimpse: first dvc repro": "dvc repro", "again, nothing changed": "dvc repro", "one clip added": "dvc repro",
    "dvc exp run -S frames=5": "dvc exp run -S frames=5",
}  # fmt: skip


def run_command(folder: Path, command: str) -> tuple[float, float]:
    """The seconds that a command takes, and the peak memory in MB of it and its children together."""
    peak, log, start = 0, folder.with_name("log.txt"), time.perf_counter()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"DVC_NO_ANALYTICS": "1", "PATH": path}  # `dvc init` comes before any setting
    with open(log, "w") as out, psutil.Popen(command.split(), cwd=folder, env=env, stdout=out, stderr=out) as process:
        while process.poll() is None:
            with suppress(psutil.Error):
                processes = [process, *process.children(recursive=True)]
                peak = max(peak, sum(each.memory_info().rss for each in processes))
            time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"bench: {command}: {'; '.join(filter(None, log.read_text().splitlines()[-4:]))}")
    return time.perf_counter() - start, peak / 1e6


def copy_project(folder: Path, paths: list[str]) -> Path:
    """A copy of the project, and beside it a dataset of links to these clips."""
    for name in COPIED:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        elif source.exists():
            shutil.copy(source, target)
    params = re.sub("(?m)^dataset: .*", f"dataset: ../{folder.name}-clips", (ROOT / "params.yaml").read_text("utf-8"))
    (folder / "params.yaml").write_text(params, "utf-8")
    for path in paths:
        add_clip(folder, path)
    return folder


def add_clip(folder: Path, path: str) -> None:
    """Link a clip into the dataset of a copied project."""
    link = folder.with_name(f"{folder.name}-clips") / path
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(Path(path).absolute())


def pipeline(workload: Workload) -> Iterator[Row]:
    """All stages; and a naive way, estimated: decode in every epoch, a MobileNetV2 for every frame position."""
    *paths, added = workload.paths
    folder, first, cached = copy_project(workload.folder / "pipeline", paths), 0.0, np.zeros(2, int)
    for command in SET_UP:
        run_command(folder, command)
    for name, command in STEPS.items():
        if name == "one clip added":
            add_clip(folder, added)
        before, (seconds, _) = cached, run_command(folder, command)
        cached = np.array([len([*(folder / ".cache" / stage).glob("*/*")]) for stage in ("frames", "features")])
        if not first:
            first, clips = seconds, sum(read_table(folder / "data/split.csv", ["split"])["split"] != "test")
            epochs = [len(read_table(folder / f"models/{approach}/history.csv", [])) for approach in APPROACHES]
        decoded, encoded = cached - before
        yield name, seconds, "s", seconds / first, f"{decoded} clips decoded, {encoded} encoded"
    num_frames = [workload.settings.num_frames(approach) for approach in APPROACHES]
    decoding = workload.results["OpenCV, read all"] / 1000  # seconds
    encoding = 1 / workload.results["PyTorch, plain batch"]
    naive = clips * np.dot(epochs, [decoding + number * encoding for number in num_frames])
    work = f"{clips} clips x {epochs} epochs, read all + {num_frames} plain frames, no training"
    yield "naive way", naive, "s", naive / first, f"a lower bound, estimated: {work}"


def memory(workload: Workload) -> Iterator[Row]:
    """Peak memory of a stage with its worker processes, for a quarter of the clips and for all."""
    samples = [workload.paths[::step] for step in (4, 1)]
    folders = [copy_project(workload.folder / f"memory-{len(paths)}", paths) for paths in samples]
    for stage in ("frames", "features"):
        peaks = [run_command(folder, f"python src/{stage}.py")[1] for folder in folders]
        for paths, peak in zip(samples, peaks, strict=True):
            yield f"{stage}, {len(paths)} clips", peak, "MB", peak / peaks[0], ""

"""`dvc repro` that is killed, interrupted or run twice at once gives the bytes of an undisturbed run, in any clone.

GLIMPSE_KILLS is the number of kills (3), GLIMPSE_SEED the seed of their moments (0). Run by `make torture`.
"""

import collections
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import yaml
from conftest import ROOT, write_params

pytestmark = pytest.mark.torture

KILLS, SEED = int(os.environ.get("GLIMPSE_KILLS", 3)), int(os.environ.get("GLIMPSE_SEED", 0))
STAGES = ["demo", "frames", "duplicates", "split", "features", "train-first5", "train-all10", "evaluate", "report"]
# which stages are killed first
KILL_ORDER = ["features", "train-first5", "frames", "evaluate", "demo", "report", "train-all10", "duplicates", "split"]
SMALL = {"demo.actors": 9, "demo.repetitions": 1, "features.augmented_views": 1, "features.input_size": 96}
SMALL |= {"train.epochs": 80, "train.patience": 80}
OTHER_MACHINE = '''
"""Stands in for another machine: other number of cores, folders listed in reverse order."""
import os

os.cpu_count = lambda: 5
listdir, scandir = os.listdir, os.scandir
os.listdir = lambda *path: sorted(listdir(*path), reverse=True)


class ReversedScan:
    def __init__(self, *path):
        with scandir(*path) as entries:
            self.entries = iter(sorted(entries, key=lambda entry: entry.name, reverse=True))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def __iter__(self):
        return self.entries

    def __next__(self):
        return next(self.entries)

    def close(self):
        pass


os.scandir = ReversedScan
'''


class Repro:
    """A running `dvc repro` in its own process group: what it has printed, and when each stage began."""

    def __init__(self, folder, **environment):
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1", **environment}
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        command = {"cwd": folder, "env": environment, "start_new_session": True}
        self.process = subprocess.Popen(["dvc", "repro"], **command, **streams)
        self.printed, self.began = "", {}
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        with self.process.stdout as lines:
            for line in lines:
                self.printed += line
                if match := re.match(r"Running stage '(?:.*:)?([^']+)'", line):
                    self.began[match[1]] = time.monotonic()

    @property
    def stage(self):
        """The stage that began last."""
        return list(self.began)[-1] if self.began else None

    def reach(self, stage, epochs=0):
        """Wait until a stage, or a later one, begins, or until it has trained some epochs."""
        while not any(STAGES.index(name) >= STAGES.index(stage) for name in list(self.began)) or (
            self.stage == stage and self.printed.rpartition("Running stage")[2].count("\nepoch ") < epochs
        ):
            assert self.process.poll() is None, self.printed
            time.sleep(0.01)

    def send(self, signal_number):
        """Send a signal to all processes; returns the exit code when they are gone, the workers too."""
        os.killpg(self.process.pid, signal_number)
        return self.end(limit=30)

    def end(self, limit=600):
        """Wait until all processes are gone; returns the exit code."""
        code = self.process.wait(limit)
        self.reader.join(10)
        deadline = time.monotonic() + 10
        while remaining := [process for process in psutil.process_iter() if self._is_in_group(process)]:
            assert time.monotonic() < deadline, remaining
            time.sleep(0.1)
        return code

    def _is_in_group(self, process):
        try:
            return os.getpgid(process.pid) == self.process.pid and process.status() != psutil.STATUS_ZOMBIE
        except (ProcessLookupError, psutil.NoSuchProcess):
            return False


def clone_project(folder):
    """A clone with the settings of a small demo, no stage run yet."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    write_params(folder, **SMALL)
    return folder


def outputs(folder):
    """{file: bytes} of everything that DVC tracks, dvc.lock too, and the output of git status."""
    files = {}
    for lock in ("dvc.lock", "data/dvc.lock"):
        files[lock] = (folder / lock).read_bytes()
        for stage in yaml.safe_load(files[lock])["stages"].values():
            for out in (folder / out["path"] for out in stage["outs"]):
                for file in [out] if out.is_file() else filter(Path.is_file, out.rglob("*")):
                    files[file.relative_to(folder).as_posix()] = file.read_bytes()
    status = subprocess.run(["git", "status", "--porcelain"], cwd=folder, check=True, capture_output=True, text=True)
    return files, status.stdout


def incomplete_outputs(folder, expected):
    """Outputs that exist and differ from the `expected` ones of an undisturbed run."""
    tracked = [folder / "data", folder / "metrics", folder / "models"]
    files = [path for root in tracked for path in root.rglob("*") if path.is_file()]
    paths = {path.relative_to(folder).as_posix(): path for path in files}
    return [name for name, path in paths.items() if name in expected and path.read_bytes() != expected[name]]


def temporary_files(folder):
    return [path for path in folder.rglob("*.part") if ".dvc" not in path.parts]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A clone in which all stages are done, its outputs, and the seconds that each stage took."""
    folder = clone_project(tmp_path_factory.mktemp("undisturbed") / "clone")
    repro = Repro(folder)
    assert repro.end() == 0, repro.printed
    began = [*repro.began.values(), time.monotonic()]
    assert list(repro.began) == STAGES
    return folder, outputs(folder), dict(zip(STAGES, [b - a for a, b in zip(began, began[1:])]))


def cached(folder):
    """{entry of a cache: its time of modification}"""
    entries = (path for path in folder.glob(".cache/*/*/*") if not path.name.endswith(".part"))
    return {path: path.stat().st_mtime_ns for path in entries}


def moments(rng):
    """(stage, signal, whether it is the first signal to this stage) of every signal, in the order of the stages."""
    stops = [(KILL_ORDER[number % len(KILL_ORDER)], signal.SIGKILL) for number in range(KILLS)]
    stops += [(stage, signal.SIGINT) for stage in (STAGES if KILLS > 3 else ["demo", "train-all10", "evaluate"])]
    rng.shuffle(stops)
    stops.sort(key=lambda stop: STAGES.index(stop[0]))
    return [(stage, which, stage not in dict(stops[:n])) for n, (stage, which) in enumerate(stops)]


def test_many_kills_and_interrupts_do_not_change_a_byte_of_the_outputs(tmp_path, undisturbed):
    _, (expected, status), seconds = undisturbed
    folder, rng = clone_project(tmp_path / "clone"), random.Random(SEED)
    signals, entries, resumed, stopped = collections.Counter(), {}, [], []
    for target, signal_number, first in moments(rng):
        repro = Repro(folder)
        repro.reach(target)
        if first and target.startswith("train"):  # while it trains
            repro.reach(target, epochs=rng.randint(1, 20))
        else:  # the first must not come too late; Ctrl-C neither before Python is there nor when all is done
            early, late = (0.3, 0.5) if signal_number == signal.SIGINT else (0, 0.5 if first else 1)
            time.sleep(rng.uniform(early, late) * seconds[target])
        stage = repro.stage
        assert repro.send(signal_number) != 0, (stage, signal_number, repro.printed)
        signals[stage, signal_number.name] += 1
        resumed += re.findall(r".*: resuming at epoch \d+", repro.printed)
        if signal_number == signal.SIGINT:
            assert "Traceback" not in repro.printed and not temporary_files(folder), repro.printed
            stopped += re.findall(r".*: stopped; started again, it continues from what is done\n", repro.printed)
        differing = incomplete_outputs(folder, expected)
        assert set(differing) <= {"dvc.lock", "data/dvc.lock", "metrics/test.json"}, (stage, differing)  # as in Git
        assert all(entry.stat().st_mtime_ns == written for entry, written in entries.items())  # not written again
        entries |= cached(folder)
    repro = Repro(folder)
    assert repro.end() == 0, repro.printed
    resumed += re.findall(r".*: resuming at epoch \d+", repro.printed)
    counts = f"{signals.total()} signals: {dict(signals)}; {len(stopped)} interrupted; {len(entries)} cache entries"
    print(f"\n{counts}; {resumed}")
    assert {stage for stage, _, _ in moments(random.Random(SEED))} <= {stage for stage, _ in signals}
    assert resumed and stopped
    assert outputs(folder) == (expected, status)
    assert not [path for path in temporary_files(folder) if path.parent.name in ("frames", "demo")]


def test_a_second_repro_at_the_same_time_exits_and_harms_nothing(tmp_path, undisturbed):
    folder = Path(shutil.copytree(undisturbed[0], tmp_path / "clone", symlinks=True))
    write_params(folder, **SMALL, seed=1)
    first = Repro(folder)
    first.reach("train-first5")
    second = Repro(folder)
    assert second.end() != 0
    assert re.search("is busy, it is being blocked by|Unable to acquire lock", second.printed), second.printed
    assert "Traceback" not in second.printed and not second.began
    assert first.end() == 0, first.printed
    again = Repro(folder)
    assert again.end() == 0 and "up to date" in again.printed


def test_a_clone_with_another_number_of_workers_and_order_of_files_gives_the_same_bytes(tmp_path, undisturbed):
    (tmp_path / "sitecustomize.py").write_text(OTHER_MACHINE)
    folder = clone_project(tmp_path / "clone")
    repro = Repro(folder, PYTHONPATH=str(tmp_path))
    assert repro.end() == 0, repro.printed
    assert list(repro.began) == STAGES  # no run cache shared
    assert outputs(folder) == undisturbed[1]

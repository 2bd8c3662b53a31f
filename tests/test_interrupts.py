"""`dvc repro` killed, stopped, and run by two at once comes to the bytes of an undisturbed run; so does another clone.

GLIMPSE_KILLS says how many kills (3), GLIMPSE_SEED their moments (0). Run by `make torture`.
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
# to be killed in this order
FIRST = ["features", "train-first5", "frames", "evaluate", "demo", "report", "train-all10", "duplicates", "split"]
SMALL = {"demo.actors": 9, "demo.repetitions": 1, "features.augmented_views": 1, "features.input_size": 96}
SMALL |= {"train.epochs": 80, "train.patience": 80}
OTHERWISE = '''
"""Another machine: more cores, and folders listed from their end."""
import os

os.cpu_count = lambda: 5
listed, scanned = os.listdir, os.scandir
os.listdir = lambda *where: sorted(listed(*where), reverse=True)


class Scanned:
    def __init__(self, *where):
        with scanned(*where) as entries:
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


os.scandir = Scanned
'''


class Repro:
    """A `dvc repro` under way, in a process group of its own: what it has printed, and when each stage began."""

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
                if found := re.match(r"Running stage '(?:.*:)?([^']+)'", line):
                    self.began[found[1]] = time.monotonic()

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

    def send(self, which):
        """Send a signal to all processes; returns the exit code when they are gone, the workers too."""
        os.killpg(self.process.pid, which)
        return self.end(limit=30)

    def end(self, limit=600):
        """The exit code, when all processes are gone."""
        code = self.process.wait(limit)
        self.reader.join(10)
        deadline = time.monotonic() + 10
        while left := [process for process in psutil.process_iter() if self._ours(process)]:
            assert time.monotonic() < deadline, left
            time.sleep(0.1)
        return code

    def _ours(self, process):
        try:
            return os.getpgid(process.pid) == self.process.pid and process.status() != psutil.STATUS_ZOMBIE
        except (ProcessLookupError, psutil.NoSuchProcess):
            return False


def project(folder):
    """A clone with a small demo, nothing run yet."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    write_params(folder, **SMALL)
    return folder


def outputs(folder):
    """{file: bytes} of all that DVC tracks, dvc.lock too, and what Git says of the tree."""
    files = {}
    for lock in ("dvc.lock", "data/dvc.lock"):
        files[lock] = (folder / lock).read_bytes()
        for stage in yaml.safe_load(files[lock])["stages"].values():
            for out in (folder / out["path"] for out in stage["outs"]):
                for file in [out] if out.is_file() else filter(Path.is_file, out.rglob("*")):
                    files[file.relative_to(folder).as_posix()] = file.read_bytes()
    status = subprocess.run(["git", "status", "--porcelain"], cwd=folder, check=True, capture_output=True, text=True)
    return files, status.stdout


def half_written(folder, whole):
    """Files at the places of outputs that differ from the `whole` ones of an undisturbed run."""
    tracked = [folder / "data", folder / "metrics", folder / "models"]
    found = [path for root in tracked for path in root.rglob("*") if path.is_file()]
    names = {path.relative_to(folder).as_posix(): path for path in found}
    return [name for name, path in names.items() if name in whole and path.read_bytes() != whole[name]]


def leftovers(folder):
    return [path for path in folder.rglob("*.part") if ".dvc" not in path.parts]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A finished clone, its outputs, and how long each stage took, seconds."""
    folder = project(tmp_path_factory.mktemp("undisturbed") / "clone")
    repro = Repro(folder)
    assert repro.end() == 0, repro.printed
    began = [*repro.began.values(), time.monotonic()]
    assert list(repro.began) == STAGES
    return folder, outputs(folder), dict(zip(STAGES, [b - a for a, b in zip(began, began[1:])]))


def cached(folder):
    """{entry of a cache: when it was written}"""
    entries = (path for path in folder.glob(".cache/*/*/*") if not path.name.endswith(".part"))
    return {path: path.stat().st_mtime_ns for path in entries}


def moments(rng):
    """(stage, signal, whether the stage is hit for the first time) of every stop, in the order of the stages."""
    stops = [(FIRST[number % len(FIRST)], signal.SIGKILL) for number in range(KILLS)]
    stops += [(stage, signal.SIGINT) for stage in (STAGES if KILLS > 3 else ["demo", "train-all10", "evaluate"])]
    rng.shuffle(stops)
    stops.sort(key=lambda stop: STAGES.index(stop[0]))
    return [(stage, which, stage not in dict(stops[:n])) for n, (stage, which) in enumerate(stops)]


def test_killed_and_stopped_again_and_again_it_comes_to_the_same_bytes(tmp_path, undisturbed):
    _, (whole, status), seconds = undisturbed
    folder, rng = project(tmp_path / "clone"), random.Random(SEED)
    hit, done, resumed, said = collections.Counter(), {}, [], []
    for target, which, first in moments(rng):
        repro = Repro(folder)
        repro.reach(target)
        if first and target.startswith("train"):  # while it trains
            repro.reach(target, epochs=rng.randint(1, 20))
        else:  # the first must not come too late; Ctrl-C neither before Python is there nor when all is done
            early, late = (0.3, 0.5) if which == signal.SIGINT else (0, 0.5 if first else 1)
            time.sleep(rng.uniform(early, late) * seconds[target])
        stage = repro.stage
        assert repro.send(which) != 0, (stage, which, repro.printed)
        hit[stage, which.name] += 1
        resumed += re.findall(r".*: resuming at epoch \d+", repro.printed)
        if which == signal.SIGINT:
            assert "Traceback" not in repro.printed and not leftovers(folder), repro.printed
            said += re.findall(r".*: stopped; started again, it continues from what is done\n", repro.printed)
        differ = half_written(folder, whole)
        assert set(differ) <= {"dvc.lock", "data/dvc.lock", "metrics/test.json"}, (stage, which, differ)  # Git's
        assert all(entry.stat().st_mtime_ns == written for entry, written in done.items())  # and not made again
        done |= cached(folder)
    repro = Repro(folder)
    assert repro.end() == 0, repro.printed
    resumed += re.findall(r".*: resuming at epoch \d+", repro.printed)
    print(f"\n{hit.total()} stops: {dict(hit)}; {len(said)} times 'stopped'; {resumed}; {len(done)} clips in caches")
    assert {stage for stage, _, _ in moments(random.Random(SEED))} <= {stage for stage, _ in hit}
    assert resumed and said
    assert outputs(folder) == (whole, status)
    assert not [path for path in leftovers(folder) if path.parent.name in ("frames", "demo")]


def test_of_two_at_once_the_second_gives_way(tmp_path, undisturbed):
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


def test_another_clone_with_other_workers_and_another_order_of_files_makes_the_same_bytes(tmp_path, undisturbed):
    (tmp_path / "sitecustomize.py").write_text(OTHERWISE)
    folder = project(tmp_path / "clone")
    repro = Repro(folder, PYTHONPATH=str(tmp_path))
    assert repro.end() == 0, repro.printed
    assert list(repro.began) == STAGES  # no run cache shared
    assert outputs(folder) == undisturbed[1]

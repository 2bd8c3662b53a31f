"""A clone of the repository with a small demo, and a shell in it, for tests that do what a user does."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from conftest import ROOT

SMALL = {
    "candidates": 10, "frame_size": 96, "features.augmented_views": 0, "features.input_size": 64, "train.epochs": 20,
    "train.ema_decay": 0.5, "demo.actors": 8, "demo.repetitions": 1,
}  # fmt: skip
ALL = ["demo", "frames", "duplicates", "split", "features", "train-first5", "train-all10", "evaluate", "report"]


class Clone:
    """A clone of the repository, and a shell in it whose `python` and `dvc` are this environment's.

    Proxies that do not exist keep its commands off the network.
    """

    def __init__(self, folder, origin=ROOT):
        self.folder = folder
        self.run("git", "clone", "--quiet", str(origin), str(folder), where=folder.parent)
        self.run("git", "config", "user.email", "someone@example.org")
        self.run("git", "config", "user.name", "Someone")

    @property
    def _options(self):
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        no_network = {f"{kind}_proxy": "http://127.0.0.1:9" for kind in ("http", "https")}
        environment = {**os.environ, **no_network, "PATH": path, "DVC_NO_ANALYTICS": "1", "COLUMNS": "110"}
        environment["PYTHONPATH"] = str(self.folder / "src")
        return {"env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}

    def run(self, *command, fails=False, where=None):
        """Run a command, which must succeed, or fail if `fails`; returns what it prints, both streams."""
        if command[0] == "glimpse":  # the installed one runs the code of ROOT
            command = ("python", "-m", "glimpse.cli", *command[1:])
        done = subprocess.run(command, cwd=where or self.folder, check=False, **self._options)
        assert (done.returncode != 0) == fails, f"{command} ended with {done.returncode}: {done.stdout}"
        return done.stdout

    def interrupted(self, *command, at, after=0.0):
        """Run a command that gets Ctrl-C `after` seconds after a line with the words `at`; returns what it prints."""
        with subprocess.Popen(command, cwd=self.folder, start_new_session=True, **self._options) as running:
            lines = []
            for line in running.stdout:
                lines.append(line)
                if at in line:
                    time.sleep(after)
                    os.killpg(running.pid, signal.SIGINT)
                    break
            lines.append(running.stdout.read())
        assert running.returncode != 0, "".join(lines)
        return "".join(lines)

    def set(self, changes):
        """Edit settings in params.yaml as a user would, without touching its comments: {"train.epochs": 2}."""
        path = self.folder / "params.yaml"
        for key, value in changes.items():
            group, _, name = key.rpartition(".")
            head, start, tail = path.read_text().partition(f"\n{group}:\n" if group else "dataset")
            head, tail = (head + start, tail) if group else ("", head + start + tail)
            indent = "  " if group else ""
            changed, count = re.subn(rf"(?m)^({indent}{name}: +)('.*'|\".*\"|\S+)", rf"\g<1>{value}", tail, count=1)
            assert count == 1, key
            path.write_text(head + changed)

    def ran(self, output):
        """The stages that DVC ran, in order."""
        return [name.rpartition(":")[2] for name in re.findall(r"Running stage '([^']+)'", output)]

    def status(self):
        """The names of the files that Git calls changed, sorted."""
        return sorted(line[3:] for line in self.run("git", "status", "--porcelain").splitlines())

    def restore(self):
        """Go back to the last commit, after which no stage may be left to run."""
        self.run("git", "restore", ".")
        self.run("dvc", "checkout")
        assert "Data and pipelines are up to date." in self.run("dvc", "repro")
        assert self.status() == []

    def metrics(self):
        return json.loads((self.folder / "metrics/test.json").read_text())

    def outputs(self):
        """{path: bytes} of everything that the stages write, metrics too."""
        listed = [path for path in self.folder.glob("data/*") if path.name != "lists"]
        listed += [*self.folder.glob("models/*/*"), *self.folder.glob("metrics/*")]
        files = [file for path in listed for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
        return {str(file.relative_to(self.folder)): file.read_bytes() for file in files if file.name != ".gitignore"}

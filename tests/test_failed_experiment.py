"""After a failed `dvc exp run -S`, `git restore .` restores params.yaml, as users expect.

`seed: 0` to 1 keeps the file's size, and DVC writes it in place within the second of Git's index entry; without what
run_stage does, Git sees no change and restores nothing. Slow: run by `make test-slow`.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT

pytestmark = pytest.mark.slow
SCRIPT = '''"""A stage that fails after two seconds."""
import time
from glimpse.core.stage import run_stage

def main() -> None:
    time.sleep(2)
    raise SystemExit("train: no clips")

run_stage(main)
'''
ENVIRONMENT = {
    **os.environ, "PYTHONPATH": str(ROOT / "src"), "DVC_NO_ANALYTICS": "1",
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
}  # fmt: skip


@pytest.fixture
def run(tmp_path):
    """Run a command in a Git and DVC repository with one stage; returns the process, both its streams as one text."""

    def run(*command, check=True):
        process = subprocess.run(
            command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert process.returncode == 0 or not check, process.stdout
        return process

    (tmp_path / "fails.py").write_text(SCRIPT)
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    (tmp_path / "dvc.yaml").write_text("stages:\n  train:\n    cmd: python fails.py\n    params: [seed]\n")
    run("git", "init", "-q")
    run("git", "config", "user.email", "someone@example.org")
    run("git", "config", "user.name", "Someone")
    run("dvc", "init", "-q")
    run("git", "add", ".")
    run("git", "commit", "-qm", "Start")
    return run


def test_after_a_failed_experiment_git_restore_restores_params_yaml(run, tmp_path):
    for number in range(10):
        (tmp_path / "notes.txt").write_text(f"{number}\n")
        time.sleep(1 - time.time() % 1 + number / 10)  # Git and DVC write at all distances from the end of a second
        run("git", "add", ".")
        run("git", "commit", "-qm", f"Commit {number}")
        run("git", "checkout", "-q", "HEAD", "--", ".")
        failed = run("dvc", "exp", "run", "-S", "seed=1", check=False)
        assert failed.returncode != 0 and "Running stage 'train'" in failed.stdout, failed.stdout
        message = "train: no clips\nparams.yaml differs from the last commit: seed; to undo: git restore params.yaml\n"
        assert message in failed.stdout
        assert (tmp_path / "params.yaml").read_text() == "seed: 1\n"
        run("git", "restore", ".")
        assert (tmp_path / "params.yaml").read_text() == "seed: 0\n", f"not restored in round {number}"
        assert run("git", "status", "--porcelain").stdout == ""

"""A DVC cache whose files are linked into the workspace: no stage writes into it through a link."""

import hashlib
import re
import shutil

import pytest
from dvc_clone import ALL, SMALL, Clone

pytestmark = pytest.mark.torture


def check_cache(clone):
    """Check that the name of every file in DVC's cache is the MD5 of its bytes; returns the number of files."""
    files = [path for path in (clone.folder / ".dvc/cache/files/md5").rglob("*") if path.is_file()]
    for path in files:
        with path.open("rb") as file:
            name = (path.parent.name + path.name).removesuffix(".dir")
            assert hashlib.file_digest(file, "md5").hexdigest() == name, path
    return len(files)


@pytest.mark.parametrize("kind", ["symlink", "hardlink"])
def test_the_pipeline_never_writes_into_a_linked_cache(tmp_path, kind):
    clone = Clone(tmp_path / "linked")
    clone.run("dvc", "config", "cache.type", kind)
    clone.set(SMALL | {"demo.actors": 6, "train.epochs": 3})
    assert clone.ran(clone.run("dvc", "repro")) == ALL
    model = clone.folder / "models/all10/model.pt"
    assert model.is_symlink() if kind == "symlink" else model.stat().st_nlink == 2
    size = check_cache(clone)
    clone.run("git", "commit", "--quiet", "--all", "--message", "A small demo")
    clone.set({"demo.seed": 1, "candidates": 12, "train.epochs": 2})  # every stage writes where links stand
    assert clone.ran(clone.run("dvc", "repro")) == ALL
    larger_size = check_cache(clone)
    assert larger_size > size
    for script in ("demo", "frames", "duplicates", "split", "features", "train all10", "evaluate", "report"):
        name, *approach = script.split()
        before = check_cache(clone)
        clone.run("python", f"src/{name}.py", *approach)  # DVC removes the links first, this does not
        assert check_cache(clone) == before
    assert clone.ran(clone.run("dvc", "repro")) == []

    shutil.copytree(clone.folder / "data/demo", clone.folder / "data/clips")
    clone.run("dvc", "add", "data/clips")
    clips = [path for path in (clone.folder / "data/clips").rglob("*.avi")]
    assert len(clips) == 30 and (kind == "hardlink" or all(path.is_symlink() for path in clips))
    clone.set({"dataset": "data/clips"})
    assert clone.ran(clone.run("dvc", "repro")) == ["frames"]
    clone.set({"frames": 6})
    assert clone.ran(clone.run("dvc", "repro")) == ["train-first5", "train-all10", "evaluate", "report"]
    check_cache(clone)
    clone.run("git", "restore", "params.yaml", "dvc.lock", "data/dvc.lock", "metrics/test.json")
    clone.run("dvc", "checkout", "dvc.yaml", "data/dvc.yaml")
    assert clone.ran(clone.run("dvc", "repro")) == [] and check_cache(clone) >= larger_size
    assert not re.search(r"(?m)^\s+(modified|deleted|new):", clone.run("dvc", "status", "dvc.yaml"))

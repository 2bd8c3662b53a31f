"""A full or read-only disk: one line names the file, the old file stays, and no temporary file is left."""

import ast
import builtins
import errno
import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT, write_clip, write_params

from glimpse.core import files
from glimpse.core.files import atomic_write
from glimpse.frames import decode_all


class FileOnFullDisk:
    """A file on a disk with room for `room` bytes; writing more fails at once, or when the file is closed."""

    def __init__(self, file, room, at_close):
        self.file, self.room, self.at_close = file, room, at_close

    def write(self, content):
        self.room -= len(content)
        if self.room < 0 and not self.at_close:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(content)

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fill_disk(monkeypatch, room=0, at_close=False, opening=None, renaming=None):
    """Files that `atomic_write` opens are on such a disk; or opening or renaming one fails with this errno."""

    def open_on_full_disk(path, mode="r", **options):
        if "r" not in mode and opening:
            raise OSError(opening, os.strerror(opening))
        file = builtins.open(path, mode, **options)  # noqa: SIM115
        return file if "r" in mode else FileOnFullDisk(file, room, at_close)

    monkeypatch.setattr(files, "open", open_on_full_disk, raising=False)
    if renaming:
        monkeypatch.setattr(files.Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(renaming, "no")))


FAILURES = [
    {"room": 0},
    {"room": 7},
    {"room": 7, "at_close": True},
    {"opening": errno.EROFS},
    {"opening": errno.EDQUOT},
]
FAILURES += [{"opening": errno.EACCES}, {"renaming": errno.ENOSPC, "room": 10**9}]


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("mode", ["w", "wb"])
def test_a_file_that_cant_be_written_is_named_and_the_old_one_stays(tmp_path, monkeypatch, failure, mode):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stop:
        fill_disk(patch, **failure)
        with atomic_write(path, mode) as file:
            file.write("long enough" if mode == "w" else b"long enough")
    assert str(stop.value).startswith(f"{path}: could not be written: ") and len(str(stop.value).splitlines()) == 1
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["table.csv"]


def read_all(folder):
    """{path: bytes} of all files."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "name", ["duplicates", "split", "features", "train first5", "train all10", "evaluate"], ids=lambda name: name
)
def test_a_stage_on_a_full_disk_ends_with_one_line_and_leaves_every_file_as_it_was(copied, stage, monkeypatch, name):
    tree = yaml.safe_load((copied / "params.yaml").read_text())
    write_params(copied, **{f"features.{key}": value for key, value in tree["features"].items()}, **{"train.epochs": 1})
    before = read_all(copied)
    for failure in ({"room": 0}, {"room": 100, "at_close": True}):
        with monkeypatch.context() as patch, pytest.raises(SystemExit, match="could not be written: No space") as stop:
            fill_disk(patch, **failure)
            stage(copied, *name.split())
        folders = ("data/", "models/", "metrics/", ".checkpoints/")
        assert len(str(stop.value).splitlines()) == 1 and str(stop.value).startswith(folders)
        assert read_all(copied) == before


def test_frames_and_features_name_the_cache_entry_that_cannot_be_written(copied, stage, monkeypatch):
    for kind in ("frames", "features"):
        shutil.rmtree(copied / ".cache" / kind)
    before = read_all(copied)
    with monkeypatch.context() as patch, pytest.raises(SystemExit, match=r"\.cache/features/.*: No space left"):
        fill_disk(patch)
        stage(copied, "features")
    clip = write_clip(copied / "clip.avi", [0, 100, 200])
    before[clip] = clip.read_bytes()
    with monkeypatch.context() as patch, pytest.raises(SystemExit, match=r"\.cache/frames/.*: Read-only file system"):
        fill_disk(patch, opening=errno.EROFS)
        patch.chdir(copied)
        decode_all.decode(clip, 5, 32)
    assert read_all(copied) == before


def test_a_cache_that_cannot_be_written_ends_the_stage_and_rejects_no_clip(copied, stage):
    shutil.rmtree(copied / ".cache")
    (copied / ".cache").write_text("in the way")
    before = read_all(copied)
    with pytest.raises(SystemExit, match=r"^\.cache/frames/.*: could not be written: "):
        stage(copied, "frames")
    assert read_all(copied) == before


def test_stages_write_through_atomic_write_or_atomic_folder_alone():
    """An atomic_folder is called `new_folder`, a buffer in memory `content`; tools in temporary folders are exempt."""
    writers = {"write_text", "write_bytes", "imwrite", "savetxt", "tofile", "savez", "dump", "copyfile", "copy2"}
    for path in sorted((ROOT / "src").rglob("*.py")):
        if path.name in ("files.py", "ablate.py") or path.parent.name == "benchmarks":
            continue
        source = path.read_text()
        for call in [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]:
            name, words = getattr(call.func, "attr", getattr(call.func, "id", "")), ast.unparse(call)
            opens = re.match(r"open\(.*['\"][wax]b?['\"]", words) and not re.search("devnull|new_folder /", words)
            in_memory = call.args and ast.unparse(call.args[0]) == "content" and "content = io.BytesIO()" in source
            assert (name not in writers or in_memory) and not opens, f"{path}: {words}"


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 2 MB, which is unmounted after the test."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.torture
def test_a_real_disk_that_is_full_or_read_only(small_disk):
    def run(name, *words):
        done = subprocess.run(
            [sys.executable, ROOT / f"src/{name}.py"], cwd=small_disk, capture_output=True, text=True, check=False
        )
        lines = done.stderr.strip().splitlines()
        assert done.returncode and "Traceback" not in done.stderr and all(word in lines[-1] for word in words), lines
        assert not [path for path in small_disk.rglob("*.part")]

    write_params(small_disk, **{"demo.actors": 4, "demo.repetitions": 1})
    run("demo", "data/demo", "is the disk full?")
    assert not list((small_disk / "data").rglob("*.avi"))
    for action in ("up", "down"):
        for number in range(3):
            levels = range(0, 250, 10) if action == "up" else range(250, 0, -10)
            write_clip(small_disk / "data/demo" / action / f"{number}.avi", [*levels, number])
    for room in (0, 20, 60, 100, 150):  # kB: full in the cache, in a shard, at a table
        for folder in (".cache", "data/frames"):
            shutil.rmtree(small_disk / folder, ignore_errors=True)
        (small_disk / "filler").unlink(missing_ok=True)
        free = shutil.disk_usage(small_disk).free
        (small_disk / "filler").write_bytes(b"\0" * max(0, free - room * 1024))
        run("frames", "could not be written: No space left on device")
    (small_disk / "filler").unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    run("frames", ".cache/frames", "could not be written: Read-only file system")
    run("demo", "data/demo", "Read-only file system")

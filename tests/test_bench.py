"""The speed benchmark runs on any folder of clips, and a peer that isn't there is skipped by name."""

import getpass
import os
import re
import subprocess
import sys

import bench
import pytest
from conftest import ROOT, grey_levels, write_clip

ROW = re.compile(r"^  (.+?) +([\d.]+) (ms/clip|frames/s) +x([\d.]+) ")


@pytest.fixture
def folder(tmp_path):
    for action in ("left", "right"):
        for take in range(2):
            write_clip(tmp_path / "some clips" / action / f"take {take}.avi", grey_levels(30)[:: 1 if take else -1])
    return tmp_path / "some clips"


@pytest.mark.slow
def test_quick_tables_have_every_competitor_and_missing_peers_are_named(folder, tmp_path):
    for module in ("av", "torchcodec"):
        (tmp_path / "missing" / module).mkdir(parents=True)
        (tmp_path / "missing" / module / "__init__.py").write_text(f"raise ImportError('no {module} here')")
    (tmp_path / "elsewhere").mkdir()
    places = {"PYTHONPATH": str(tmp_path / "missing"), "TMPDIR": str(tmp_path / "elsewhere")}
    done = subprocess.run(
        [sys.executable, ROOT / "src" / "bench.py", folder, "--quick"],
        cwd=tmp_path / "elsewhere", env=os.environ | places, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    left = {path.name for path in (tmp_path / "elsewhere").iterdir()}
    assert not left - {f"torchinductor_{getpass.getuser()}"}  # an empty folder that PyTorch makes
    printed = done.stdout
    rows = [row.groups() for row in map(ROW.match, printed.splitlines()) if row]
    assert [name for name, *_ in rows] == [
        "ours: OpenCV, grab and retrieve", "OpenCV, read all", "OpenCV, seek", "floor: ours, all dropped",
        "ours, whole stage", "ours: float32", "ours: bfloat16", "PyTorch, plain batch",
        "PyTorch, channels last, norms folded", "ONNX Runtime, its own threads",
    ]  # fmt: skip
    assert all(float(value) > 0 and float(ratio) > 0 for _, value, _, ratio in rows)
    assert re.findall(r"(.+) is skipped: .* no (\w+) here", printed) == [
        ("  PyAV", "av"), ("  torchcodec", "torchcodec"), ("  torchcodec, approximate", "torchcodec"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "given, named", [(["no folder"], "no folder"), (["no clips"], "no clips"), ([".", "--only", "speed"], "speed")]
)
def test_a_mistake_is_one_line(tmp_path, monkeypatch, given, named):
    (tmp_path / "no clips").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("PATH", "DVC_NO_ANALYTICS"):  # main sets them for what it starts
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setattr(sys, "argv", ["bench.py", *given])
    with pytest.raises(SystemExit) as exit:
        bench.main()
    assert named in exit.value.code and "\n" not in exit.value.code

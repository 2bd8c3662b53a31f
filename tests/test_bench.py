"""The speed benchmark runs on any folder of clips; an alternative that is not installed is skipped by name."""

import getpass
import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT, grey_levels, run_tool, write_clip

from glimpse.tools import bench
from glimpse.tools.benchmarks import pipeline

ROW = re.compile(r"^  (.+?) +([\d.]+) (ms/clip|frames/s) +x([\d.]+) ")


@pytest.fixture
def folder(tmp_path):
    for action in ("left", "right"):
        for take in range(2):
            write_clip(tmp_path / "some clips" / action / f"take {take}.avi", grey_levels(30)[:: 1 if take else -1])
    return tmp_path / "some clips"


@pytest.mark.slow
def test_quick_tables_have_every_alternative_and_missing_packages_are_named(folder, tmp_path):
    for module in ("av", "torchcodec"):
        (tmp_path / "missing" / module).mkdir(parents=True)
        (tmp_path / "missing" / module / "__init__.py").write_text(f"raise ImportError('no {module} here')")
    (tmp_path / "elsewhere").mkdir()
    code = (
        "import argparse, sys; from glimpse.tools import bench\n"
        "parser = argparse.ArgumentParser(); bench.add_arguments(parser)\n"
        "if __name__ == '__main__': bench.run(parser.parse_args())"
    )
    (tmp_path / "start.py").write_text(code)
    places = {"PYTHONPATH": f"{tmp_path / 'missing'}{os.pathsep}{ROOT / 'src'}", "TMPDIR": str(tmp_path / "elsewhere")}
    done = subprocess.run(
        [sys.executable, tmp_path / "start.py", folder, "--quick"],
        cwd=tmp_path / "elsewhere", env=os.environ | places, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    left = {path.name for path in (tmp_path / "elsewhere").iterdir()}
    assert not left - {f"torchinductor_{getpass.getuser()}"}  # an empty folder that PyTorch makes
    printed = done.stdout
    rows = [row.groups() for row in map(ROW.match, printed.splitlines()) if row]
    assert [name for name, *_ in rows] == [
        "Glimpse: OpenCV, grab and retrieve", "OpenCV, read all", "OpenCV, seek", "floor: decode, convert no frame",
        "Glimpse, whole stage", "Glimpse: float32", "Glimpse: bfloat16", "PyTorch, plain batch",
        "PyTorch, channels last, norms fused", "ONNX Runtime, its own threads",
    ]  # fmt: skip
    assert all(float(value) > 0 and float(ratio) > 0 for _, value, _, ratio in rows)
    assert re.findall(r"(.+) is skipped: .* no (\w+) here", printed) == [
        ("  PyAV", "av"), ("  torchcodec", "torchcodec"), ("  torchcodec, approximate", "torchcodec"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "arguments, named", [(["no folder"], "no folder"), (["no clips"], "no clips"), ([".", "--only", "speed"], "speed")]
)
def test_a_mistake_is_one_line(tmp_path, monkeypatch, arguments, named):
    (tmp_path / "no clips").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit:
        run_tool(bench, *arguments, *(["--quick"] if "--only" not in arguments else []))
    assert named in exit.value.code and "\n" not in exit.value.code


def test_the_copied_project_has_all_that_its_stages_need(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    paths = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*.avi"))]
    copy = pipeline.copy_project(tmp_path / "copy", paths)
    tracked = subprocess.run(["git", "ls-files", "src"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert all((copy / path).exists() for path in tracked.split())
    assert "dataset: ../copy-clips\n" in (copy / "params.yaml").read_text()
    clips = {str(path.relative_to(tmp_path / "copy-clips")) for path in (tmp_path / "copy-clips").rglob("*.avi")}
    assert clips == set(paths)

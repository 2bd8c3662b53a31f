"""The repository's own promises: dvc.yaml tells the truth, README names every setting, files stay short."""

import ast
import re
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from glimpse.core.settings import ALLOWED

SRC = ROOT / "src"
BESIDE = [path for path in (SRC / "glimpse").iterdir() if path.is_file() and path.suffix != ".py"]  # templates
STAGES = {name: stage for file in ("dvc.yaml", "data/dvc.yaml", "metrics/dvc.yaml", "models/dvc.yaml")
          for name, stage in yaml.safe_load((ROOT / file).read_text())["stages"].items()}  # fmt: skip


def script_of(stage):
    return SRC / Path(stage["cmd"].split()[1]).name


def imported(path, seen=None):
    """Every file of ours that a script imports or names, such as a template, directly or through others."""
    seen = set() if seen is None else seen
    text = path.read_text()
    for file in BESIDE:
        if f'"{file.name}"' in text and file not in seen:
            seen.add(file)
            imported(file, seen)
    for node in ast.walk(ast.parse(text)) if path.suffix == ".py" else ():
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            package = [SRC / "glimpse/__init__.py"] if name.startswith("glimpse.") else []
            for file in [*package, SRC / (name.replace(".", "/") + ".py")]:
                if file.exists() and file not in seen:
                    seen.add(file)
                    imported(file, seen)
    return seen


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_its_script_and_all_it_imports_and_no_more(name):
    stage = STAGES[name]
    declared = {dep for dep in stage["deps"] if dep.startswith("src/")}
    needed = {file.relative_to(ROOT).as_posix() for file in imported(script_of(stage)) | {script_of(stage)}}
    assert declared == needed


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_declares_the_settings_it_reads_and_no_more(name):
    read = set()
    for node in ast.walk(ast.parse(script_of(STAGES[name]).read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "read":
            for argument in node.args:
                read.add(argument.value if isinstance(argument, ast.Constant) else STAGES[name]["cmd"].split()[-1])
    assert set(STAGES[name].get("params", [])) == read


def test_settings_are_read_in_main_alone():
    """Functions take the values they use, so that `params:` in dvc.yaml is the truth."""
    for path in SRC.rglob("*.py"):
        tree = ast.parse(path.read_text())
        for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
            called = {n.func.id for n in ast.walk(function) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
            assert "read" not in called or function.name == "main", f"{path}: {function.name}"


def test_nothing_happens_at_import():
    for path in SRC.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            fine = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign, ast.If)
            assert isinstance(node, fine) or isinstance(node.value, ast.Constant), path


@pytest.mark.parametrize("name", STAGES)
def test_a_script_imports_glimpse_first_so_that_ctrl_c_is_one_line_while_libraries_load(name):
    first = next(node for node in ast.parse(script_of(STAGES[name]).read_text()).body if not isinstance(node, ast.Expr))
    assert isinstance(first, ast.ImportFrom) and first.module.startswith("glimpse")


def test_files_are_short_enough_to_read():
    long = {path.name: n for path in SRC.rglob("*.py") if (n := len(path.read_text().splitlines())) > 250}
    assert not long


def test_readme_says_what_every_setting_does():
    readme = (ROOT / "README.md").read_text()
    named = set(re.findall(r"^\| `([a-z0-9_.]+)`", readme, re.MULTILINE))
    assert named == set(ALLOWED)

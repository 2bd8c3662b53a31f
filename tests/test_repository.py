"""The repository's own promises: stage = script = folder = DVC dependency, few parameters, short files, layers."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

SRC = ROOT / "src"
STAGES = {
    name: stage
    for file in ("dvc.yaml", "data/dvc.yaml")
    for name, stage in yaml.safe_load((ROOT / file).read_text())["stages"].items()
}
TEMPLATES = {path.name: path for path in SRC.rglob("*") if path.suffix in (".jinja", ".css", ".html", ".js")}
MODULES = sorted(SRC.rglob("*.py"))
READS_FRAMES = {"num_frames"}  # settings.num_frames(approach) reads `frames` and the approach's own settings


def script_of(stage):
    return SRC / Path(stage["cmd"].split()[1]).name


def files_of(name):
    """The file of a module, and the file of each package above it."""
    parts = name.split(".")
    paths = [SRC.joinpath(*parts[:count], "__init__.py") for count in range(1, len(parts) + 1)]
    return {path for path in [*paths, SRC.joinpath(*parts).with_suffix(".py")] if path.exists()}


def reached(path, seen=None):
    """Every file of ours that a file imports, also in a function, or names, such as a template; directly or not."""
    seen = set() if seen is None else seen
    text, files = path.read_text(), set()
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    files |= files_of(alias.name)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: a relative import"
                for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                    files |= files_of(name)
            elif isinstance(node, ast.Constant) and node.value in TEMPLATES:
                files.add(TEMPLATES[node.value])
    else:  # a template that includes another
        files = {template for name, template in TEMPLATES.items() if f'"{name}"' in text or f"'{name}'" in text}
    for file in files - seen:
        seen.add(file)
        reached(file, seen)
    return seen


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_its_script_and_the_folders_it_reaches_and_no_more(name):
    script = script_of(STAGES[name])
    declared = [dep for dep in STAGES[name]["deps"] if dep.startswith("src/")]
    files = {file for file in reached(script) if file != SRC / "glimpse/__init__.py"}
    folders = {file.parent.relative_to(ROOT).as_posix() for file in files}
    assert sorted(declared) == sorted({script.relative_to(ROOT).as_posix(), *folders})


def test_no_dependency_of_a_stage_lies_in_the_package_itself_whose_init_is_empty():
    assert (SRC / "glimpse/__init__.py").read_text() == ""
    assert [path.name for path in (SRC / "glimpse").iterdir() if path.is_file() and path.suffix != ".py"] == []


def settings_read(script, approach):
    """The top-level settings that a script's main reads: attributes of its variable `settings`, or all of them."""
    tree = ast.parse(script.read_text())
    main = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main")
    read, uses, accounted = set(), 0, 0
    for node in ast.walk(main):
        if isinstance(node, ast.Name) and node.id == "settings" and isinstance(node.ctx, ast.Load):
            uses += 1
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("settings", "read_settings()"):
            accounted += isinstance(node.value, ast.Name)
            read |= {"frames", approach} if node.attr in READS_FRAMES else {node.attr}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "flatten_settings":
            accounted += 1
            hidden = next(ast.literal_eval(line.value) for line in tree.body if isinstance(line, ast.Assign)
                          and line.targets[0].id == "HIDDEN_SETTINGS")  # fmt: skip
            read |= {key for key in yaml.safe_load((ROOT / "params.yaml").read_text())
                     if not key.startswith(hidden) and not f"{key}.".startswith(hidden)}  # fmt: skip
    assert uses == accounted, f"{script.name}: `settings` is passed on as a whole: pass what is used"
    return read


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_declares_the_settings_it_reads_and_no_more(name):
    read = settings_read(script_of(STAGES[name]), approach=STAGES[name]["cmd"].split()[-1])
    assert set(STAGES[name].get("params", [])) == read


def test_settings_are_read_in_main_alone():
    """Functions take the values they use, so that `params:` in dvc.yaml is the truth."""
    for script in {script_of(stage) for stage in STAGES.values()}:
        for path in {script, *(file for file in reached(script) if file.suffix == ".py")}:
            tree = ast.parse(path.read_text())
            for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
                names = {node.func.id for node in ast.walk(function)
                         if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}  # fmt: skip
                main_of_script = path == script and function.name == "main"
                assert "read_settings" not in names or main_of_script, f"{path}: {function.name}"


def test_nothing_happens_at_import():
    definitions = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign, ast.If)
    for path in MODULES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.If):
                tests = ("__name__ == '__main__'", "TYPE_CHECKING")
                assert ast.unparse(node.test) in tests, f"{path}:{node.lineno}"
            docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            assert isinstance(node, definitions) or docstring, f"{path}:{node.lineno}"


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_script_imports_nothing_heavy_before_main(name):
    """So that --help is quick, and a Ctrl-C while libraries load is one line."""
    tree = ast.parse(script_of(STAGES[name]).read_text())
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in imports}
    assert "glimpse.core.stage" in modules
    assert {module.partition(".")[0] for module in modules - {"glimpse.core.stage"}} <= sys.stdlib_module_names
    assert ast.unparse(tree.body[-1]) == "if __name__ == '__main__':\n    run_stage(main)"


def test_files_are_short_enough_to_read():
    long = {path.name: n for path in MODULES if (n := len(path.read_text().splitlines())) > 250}
    assert not long


def test_a_folder_has_at_most_nine_files():
    folders = [SRC, *(path for path in (SRC / "glimpse").rglob("*") if path.is_dir() and path.name != "__pycache__")]
    counts = {str(folder.relative_to(ROOT)): len([path for path in folder.iterdir() if path.is_file()
              and path.name != "__init__.py" and path.suffix != ".pyc"]) for folder in folders}  # fmt: skip
    assert {folder: count for folder, count in counts.items() if count > 9} == {}


def test_no_function_has_more_than_seven_parameters():
    """Constructors of plain data, dataclasses and settings models, have no function of their own."""
    long = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                names = [name for name in names if name not in ("self", "cls")]
                if len(names) > 7:
                    long.append(f"{path.relative_to(ROOT)}: {node.name} has {len(names)}")
    assert not long


def test_imports_go_down_the_layers_only():
    """The contract in pyproject.toml, held by import-linter."""
    pytest.importorskip("importlinter")
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={"PYTHONPATH": str(SRC)})
    assert checked.returncode == 0, checked.stdout + checked.stderr

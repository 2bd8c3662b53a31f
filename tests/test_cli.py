"""The command `glimpse`: quick to start, one line for Ctrl-C and for an error, help for every command."""

import importlib
import os
import re
import signal
import statistics
import subprocess
import sys
import time
import tomllib

import pytest
from conftest import ROOT, grey_levels, write_clip

from glimpse import cli

PRESENT = [name for name, (module, _) in cli.COMMANDS.items() if importlib.util.find_spec(module)]
# Modules that take long to import, or are not installed with requirements.txt: no parser may need them.
HEAVY = "torch torchvision torchmetrics pandas scipy onnx onnxruntime gradio cleanlab matplotlib".split()
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT / "src")}


def glimpse(*arguments, cwd=None, **streams):
    streams = {"capture_output": True} | streams
    command = [sys.executable, "-m", "glimpse.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, text=True, **streams)


def test_help_lists_every_command_in_half_a_second_and_imports_no_library():
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        done = glimpse("--help")
        seconds.append(time.perf_counter() - start)
    names = {name.split()[0] for name in cli.COMMANDS}
    assert done.returncode == 0 and names <= set(re.findall(r"^    ([a-z-]+)", done.stdout, re.MULTILINE))
    assert statistics.median(seconds) < 0.5, seconds
    code = "import sys; from glimpse import cli; cli.build_parser([]); print(*{n.partition('.')[0] for n in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert not {*HEAVY, "numpy", "cv2", "yaml", "pydantic"} & set(done.stdout.split())


@pytest.mark.parametrize("name", PRESENT)
def test_help_of_a_command_says_what_it_reads_and_writes_and_imports_nothing_heavy(name):
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({HEAVY}))\n"
        f"from glimpse import cli; cli.build_parser({name.split()}).parse_args({[*name.split(), '--help']})"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    text = " ".join(done.stdout.split())
    assert text.startswith(f"usage: glimpse {name} ") and re.search(r"\b[Rr]eads?\b", text)
    assert re.search(r"\b([Ww]rites?|[Pp]rints?)\b", text), text


def test_every_module_of_a_command_is_there():
    assert PRESENT == [*cli.COMMANDS]


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "required: COMMAND"),
        (["forecast"], "invalid choice: 'forecast'"),
        (["predict"], "required: FORM"),
        (["predict", "a.avi"], "invalid choice: 'a.avi' (choose from 'clips', 'video', 'camera')"),
        (["predict", "clips"], "required: CLIP|FOLDER"),
        (["predict", "camera"], "required: N|FILE"),
        (["predict", "clips", "a.avi", "--workers", "0"], "--workers: 0: expected a whole number of at least 1"),
        (["predict", "video", "a.avi", "--window", "0"], "--window: 0: expected a number of seconds above 0"),
        (["predict", "video", "a.avi", "--window", "nan"], "--window: nan: expected a number of seconds"),
        (["predict", "camera", "0", "--csv"], "unrecognized arguments: --csv"),
        (["predict", "camera", "0", "--overlay", "a.mp4"], "unrecognized arguments: --overlay"),
        (["predict", "clips", "a.avi", "--window", "1"], "unrecognized arguments: --window"),
        (["predict", "clips", "a.avi", "--csv", "--json"], "--json: not allowed with argument --csv"),
        (["predict", "clips", "a.avi", "--overlay", "a.xyz"], "a.xyz: overlays are written as MPEG-4"),
        (["predict", "video", "a.avi", "--max-error", "1"], "--max-error: 1: expected a number between 0 and 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(monkeypatch, capsys, arguments, words):
    monkeypatch.setattr(sys, "argv", ["glimpse", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    output, errors = capsys.readouterr()
    assert stop.value.code == 2 and output == "" and words in errors.splitlines()[-1]


def test_an_error_is_one_line_and_exits_with_1(tmp_path):
    clip = write_clip(tmp_path / "clip.avi", grey_levels(30))
    for arguments, words in (
        (["clips", tmp_path / "clip.avi"], "models/all10/model.pt: No such file or directory: run `dvc repro`"),
        (["clips", clip, "--onnx"], "models/all10/model.onnx: No such file or directory: run `make export`"),
        (["video", tmp_path / "none"], "models/all10/model.pt: No such file"),
    ):
        done = glimpse("predict", *arguments, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, "") and len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith(words)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_one_line():
    with open("/dev/full", "w") as full:
        done = glimpse("--help", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, "glimpse: No space left on device\n")


def test_a_closed_pipe_is_no_error_message():
    command = f"{sys.executable} -m glimpse.cli --help | true"
    for _ in range(3):
        done = subprocess.run(["sh", "-c", command], env=ENVIRONMENT, capture_output=True, text=True)
        assert done.stderr == ""


@pytest.mark.parametrize("after", [0.2, 0.4, 0.8, 1.6])
def test_ctrl_c_is_one_line_at_any_time_also_during_imports(tmp_path, after):
    clips = [write_clip(tmp_path / f"{number}.avi", grey_levels(200), 640, 480) for number in range(100)]
    command = [sys.executable, "-c", "import time; from glimpse import cli; print(flush=True); cli.main()"]
    model = ["--model", str(tmp_path / "none.pt")] if after < 1 else ["--overlay", "x.mp4"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    fake = [sys.executable, ROOT / "tests/fake_recognizers.py"] if after > 1 else command
    arguments = ["predict", "video", *clips[:1] * 200] if after > 1 else ["predict", "clips", *clips, *model]
    with subprocess.Popen([*fake, *arguments], cwd=tmp_path, env=ENVIRONMENT, **streams) as process:
        process.stdout.readline()  # the modules of the command line itself are imported
        time.sleep(after if after < 1 else 0.2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (-signal.SIGINT, "glimpse: stopped\n")


def test_the_package_has_the_command_and_repeats_no_requirement():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["scripts"] == {"glimpse": "glimpse.cli:main"}
    assert "dependencies" not in project["project"]
    (setuptools,) = project["build-system"]["requires"]
    assert re.fullmatch(r"setuptools==[\d.]+", setuptools)
    assert setuptools in (ROOT / "requirements.txt").read_text().splitlines()


def test_make_help_lists_every_target_and_the_first_one_runs_the_pipeline():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)
    assert targets[0] == "repro"
    assert sorted(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()) == sorted(targets)
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.findall(r"^make ([a-z-]+) +\S+", done.stdout, re.MULTILINE) == targets

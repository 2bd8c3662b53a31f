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
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}


def glimpse(*arguments, cwd=None):
    command = [sys.executable, "-m", "glimpse.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True)


def test_help_lists_every_command_in_half_a_second_and_imports_no_library():
    seconds = []  # of the processor: other programs do not count
    for _ in range(5):
        before = os.times()
        done = glimpse("--help")
        after = os.times()
        seconds.append(sum(after[2:4]) - sum(before[2:4]))
    names = {name.split()[0] for name in cli.COMMANDS}
    assert done.returncode == 0 and names <= set(re.findall(r"^    ([a-z-]+)", done.stdout, re.MULTILINE))
    assert statistics.median(seconds) < 0.5, seconds
    code = "import sys; from glimpse import cli; cli.build_parser([]); print(*sys.modules)"
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
    assert [*cli.COMMANDS] == PRESENT


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
        (["video", clip], "models/all10/model.pt: No such file or directory: run `dvc repro`"),
        (["clips", clip, "--onnx"], "models/all10/model.onnx: No such file or directory: run `make export`"),
        (["camera", clip, "--onnx", "--model", "x/y"], "x/y.onnx: No such file or directory: run `make export`"),
    ):
        done = glimpse("predict", *arguments, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, "") and len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith(words)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_one_line(tmp_path):
    command = [sys.executable, ROOT / "tests/fake_recognizers.py", "predict", "video"]
    command.append(write_clip(tmp_path / "clip.avi", grey_levels(60)))
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "glimpse: No space left on device\n")


def test_a_closed_pipe_is_no_error_message():
    command = f"{sys.executable} -m glimpse.cli --help | true"
    for _ in range(3):
        done = subprocess.run(["sh", "-c", command], env=ENVIRONMENT, capture_output=True, text=True)
        assert done.stderr == ""


@pytest.mark.parametrize("after", [0.0, 0.1, 0.3, 0.6, 1.2])
def test_ctrl_c_is_one_line_at_any_time_while_modules_are_imported_and_processes_started(tmp_path, after):
    clips = [write_clip(tmp_path / f"{number}.avi", grey_levels(50)) for number in range(4)]
    (tmp_path / "torch.py").write_text("import time\ntry:\n    time.sleep(60)\nexcept:\n    raise ImportError('torch')")
    environment = ENVIRONMENT | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT / "src")])}
    started = "from glimpse import cli; print('started', flush=True); cli.main()"
    command = [sys.executable, "-c", started, "predict", "clips", *clips]
    with subprocess.Popen(command, env=environment, **PIPES) as process:
        assert process.stdout.readline() == "started\n"
        time.sleep(0.05 + after)  # cli.main needs a moment until it handles Ctrl-C
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (-signal.SIGINT, "glimpse: stopped\n")


def test_ctrl_c_is_one_line_while_a_video_is_predicted_and_leaves_no_file(tmp_path):
    clip, folder = write_clip(tmp_path / "clip.avi", grey_levels(100)), tmp_path / "out"
    folder.mkdir()
    command = [sys.executable, ROOT / "tests/fake_recognizers.py", "predict", "video", *[clip] * 2000]
    for options in ([], ["--out", folder / "segments.csv"]):
        with subprocess.Popen([*command, *options], env=ENVIRONMENT, **PIPES) as process:
            if options:
                while not os.listdir(folder):
                    time.sleep(0.02)
            else:
                assert process.stdout.readline() == f"{clip}:\n"
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (-signal.SIGINT, "glimpse: stopped\n")
    assert os.listdir(folder) == []


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

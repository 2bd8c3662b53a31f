"""What stage scripts share: one line for Ctrl-C and for an error, an exit status for DVC, --help without a run."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

HEAD = '''"""Stage `toy`: what it does.

Reads nothing. Writes nothing. Run: python toy.py
"""
from glimpse.core.stage import run_stage, stage_parser

def main() -> None:
    stage_parser(__doc__).parse_args()
'''
TAIL = """
if __name__ == "__main__":
    run_stage(main)
"""
LAST_COMMIT = "# a comment\nseed: 0\ntrain:\n  lr: 0.002\n"


@pytest.fixture
def script(tmp_path):
    """Start a script with these lines in its main: script("import torch", under_dvc=True); returns the process."""

    def start(*lines, under_dvc=False, arguments=()):
        path = tmp_path / "toy.py"
        path.write_text(HEAD + "".join(f"    {line}\n" for line in lines) + TAIL)
        environment = {key: value for key, value in os.environ.items() if key != "DVC_STAGE"}
        environment |= {"PYTHONPATH": str(ROOT / "src")} | ({"DVC_STAGE": "some/dvc.yaml:toy"} if under_dvc else {})
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([sys.executable, str(path), *arguments], cwd=tmp_path, env=environment, **streams)

    return start


@pytest.fixture
def repository(tmp_path):
    """A Git repository whose last commit has params.yaml."""
    (tmp_path / "params.yaml").write_text(LAST_COMMIT)
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "-qm", "A"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def ended(process):
    """(exit status, stdout, stderr) of a process that ends by itself."""
    output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


def test_a_stage_imports_in_milliseconds_and_nothing_heavy():
    code = "import sys, glimpse.core.stage; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert not {"numpy", "torch", "yaml", "pandas", "cv2"} & set(re.findall(r"'(\w+)'", done.stdout))


def test_a_stage_that_succeeds_prints_nothing_of_its_own_and_exits_with_0(script):
    assert ended(script("print('done')")) == (0, "done\n", "")
    assert ended(script("print('done')", under_dvc=True)) == (0, "done\n", "")


@pytest.mark.parametrize("under_dvc", [False, True])
@pytest.mark.parametrize("after", [0.3, 0.8, 1.5])
def test_ctrl_c_is_one_line_at_any_time_also_while_torch_is_imported(script, after, under_dvc):
    process = script("import torch, torchvision, pandas", "import time; time.sleep(60)", under_dvc=under_dvc)
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    line = "toy: stopped; started again, it continues from what is done\n" if under_dvc else "toy: stopped\n"
    assert ended(process) == (-signal.SIGINT, "", line)  # by SIGINT, so that a loop in a shell stops, too


@pytest.mark.parametrize(
    "swallow",
    [
        "try: time.sleep(60)\n    except: pass",  # a library that swallows it
        "try: time.sleep(60)\n    except BaseException: raise ImportError('numpy failed to import')",
    ],
)
def test_a_ctrl_c_that_a_library_swallows_or_turns_into_another_error_still_stops_the_stage(script, swallow):
    process = script("import time", "print('ready', flush=True)", swallow)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert ended(process) == (-signal.SIGINT, "", "toy: stopped\n")


def test_cleaning_up_happens_before_a_stopped_stage_ends_and_a_second_ctrl_c_prints_nothing_more(script):
    process = script(
        "import time, signal, os", "try:", "    print('ready', flush=True)", "    time.sleep(60)", "finally:",
        "    print('cleaned up', flush=True)", "    os.kill(os.getpid(), signal.SIGINT)", "    time.sleep(60)",
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert ended(process) == (-signal.SIGINT, "cleaned up\n", "toy: stopped\n")


def test_a_job_in_the_background_that_ignores_ctrl_c_goes_on(script):
    process = script("import signal, os", "print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)")
    assert ended(process) == (0, "False\n", "")
    path = process.args[1]
    ignoring = ["sh", "-c", f"trap '' INT; {sys.executable} '{path}'"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    assert subprocess.run(ignoring, env=environment, capture_output=True, text=True).stdout == "True\n"


def test_an_error_is_one_line_and_exits_with_1(script):
    assert ended(script("raise SystemExit('data/clips.csv: no such file')")) == (
        1,
        "",
        "data/clips.csv: no such file\n",
    )


def test_a_bug_gives_its_traceback(script):
    status, _, errors = ended(script("{}['missing']"))
    assert status == 1 and errors.startswith("Traceback (most recent call last):\n")
    assert errors.endswith("KeyError: 'missing'\n") and "in main\n" in errors


@pytest.mark.parametrize("code", [0, 3, None])
def test_other_exits_stay_as_they_are(script, code):
    assert ended(script(f"raise SystemExit({code})", under_dvc=True)) == (code or 0, "", "")


def test_help_prints_the_docstring_as_it_stands_and_runs_nothing(script):
    status, output, errors = ended(script("print('it ran')", arguments=["--help"]))
    assert (status, errors) == (0, "") and "it ran" not in output
    assert "Stage `toy`: what it does.\n\nReads nothing. Writes nothing. Run: python toy.py\n" in output
    status, output, errors = ended(script("print('it ran')", arguments=["--wrong"]))
    assert status == 2 and "unrecognized arguments: --wrong" in errors and output == ""


def test_under_dvc_a_failing_stage_names_what_differs_from_the_last_commit(script, repository):
    params = repository / "params.yaml"
    failing = "raise SystemExit('dataset: no clips')"
    assert ended(script(failing, under_dvc=True)) == (1, "", "dataset: no clips\n")
    params.write_text("# another comment\nseed: 0\ntrain:\n  lr: 0.002\n")
    assert ended(script(failing, under_dvc=True)) == (1, "", "dataset: no clips\n")
    params.write_text("seed: 1\ntrain:\n  lr: 0.01\nextra: 1\n")
    line = "params.yaml differs from the last commit: seed, train.lr, extra; to undo: git restore params.yaml\n"
    assert ended(script(failing, under_dvc=True)) == (1, "", "dataset: no clips\n" + line)
    assert ended(script("{}['bug']", under_dvc=True))[2].endswith("KeyError: 'bug'\n" + line)
    assert ended(script(failing)) == (1, "", "dataset: no clips\n")
    params.write_text("seed: [\n")
    assert ended(script(failing, under_dvc=True)) == (1, "", "dataset: no clips\n")


def test_under_dvc_without_git_or_params_an_error_is_its_line_alone(script, tmp_path):
    assert ended(script("raise SystemExit('no clips')", under_dvc=True)) == (1, "", "no clips\n")
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    assert ended(script("raise SystemExit('no clips')", under_dvc=True)) == (1, "", "no clips\n")


def test_under_dvc_the_time_of_params_yaml_moves_one_second_ahead_before_main_runs(script, tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text("seed: 1\n")
    os.utime(params, ns=(10**18, 10**18 + 5))
    main = "import os; print(os.stat('params.yaml').st_mtime_ns)"
    assert ended(script(main)) == (0, f"{10**18 + 5}\n", "")
    assert ended(script(main, under_dvc=True)) == (0, f"{10**18 + 10**9 + 5}\n", "")
    assert params.read_text() == "seed: 1\n"

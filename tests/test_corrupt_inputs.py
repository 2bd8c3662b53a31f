"""Files that are missing, damaged or of another kind: one line names them, and nothing in them is executed."""

import os
import pickle
import random
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from glimpse import cli
from glimpse.core import files, frame_store
from glimpse.features.extract_all import gather
from glimpse.frames import decode_all
from glimpse.inference.torch_recognizer import TorchRecognizer
from glimpse.model.model_file import FORMAT, load_model


def assert_refused(action, *words):
    """`action` ends with one line that contains these words."""
    with pytest.raises(SystemExit) as stop:
        action()
    line = str(stop.value)
    assert len(line.splitlines()) == 1 and all(word in line for word in words), line


def write(path, content):
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def model_bytes(trained):
    return (trained / "models/all10/model.pt").read_bytes()


def test_a_model_that_is_cut_off_anywhere_is_refused(model_bytes, tmp_path):
    path = tmp_path / "model.pt"
    lengths = [0, 1, 2, 4, 30, 64, 100, *range(1000, len(model_bytes), len(model_bytes) // 25)]
    for length in [*lengths, *(len(model_bytes) - missing for missing in (1, 2, 22, 100, 5000))]:
        path.write_bytes(model_bytes[:length])
        assert_refused(lambda: TorchRecognizer(path), str(path), "not a model of Glimpse, or damaged")


def test_a_model_with_one_wrong_bit_is_refused_or_the_same_model(model_bytes, tmp_path):
    path, rng, size = tmp_path / "model.pt", random.Random(0), len(model_bytes)
    intact = load_model(write(path, model_bytes))
    refusals = 0
    for _ in range(60):
        position = rng.choice([rng.randrange(size), rng.randrange(4000), size - 1 - rng.randrange(4000)])
        flipped = bytearray(model_bytes)
        flipped[position] ^= 1 << rng.randrange(8)
        try:
            model = load_model(write(path, flipped))
        except SystemExit as stop:
            assert len(str(stop).splitlines()) == 1 and str(path) in str(stop)
            refusals += 1
        else:  # the padding between the members of the file may be anything
            assert all(torch.equal(model.head[key], value) for key, value in intact.head.items())
            assert model.config == intact.config and model.head.keys() == intact.head.keys()
            assert len(model.backbones) == len(intact.backbones)
    assert refusals > 40


class Payload:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("how", ["torch", "old torch", "pickle"])
def test_code_in_a_model_is_never_executed(model_bytes, tmp_path, how, inside):
    path, proof = tmp_path / "model.pt", tmp_path / "executed"
    intact = torch.load(write(path, model_bytes), weights_only=True)
    contents = intact | {"config": Payload(proof)} if inside else Payload(proof)
    if how == "pickle":
        path.write_bytes(pickle.dumps(contents if not inside else {"format": FORMAT, "config": Payload(proof)}))
    else:
        torch.save(contents, path, _use_new_zipfile_serialization=how == "torch")
    assert_refused(lambda: TorchRecognizer(path), str(path), "not a model of Glimpse, or damaged")
    assert not proof.exists()
    torch.load(path, weights_only=False) if how != "pickle" else pickle.loads(path.read_bytes())
    assert proof.exists()  # the payload works where code may run


def test_a_model_that_is_missing_a_folder_or_of_another_version_is_refused_by_every_reader(copied, stage, monkeypatch):
    monkeypatch.chdir(copied)
    path = Path("models/all10/model.pt")
    contents = torch.load(path, weights_only=True)

    def glimpse(*arguments):
        monkeypatch.setattr(sys, "argv", ["glimpse", *arguments])
        cli.run_command()

    readers = [
        lambda: glimpse("predict", "clips", "data/demo/wave"), lambda: glimpse("contact-sheet", "sheet.png"),
        lambda: stage(copied, "evaluate"), lambda: stage(copied, "report"),
    ]  # fmt: skip

    def damage():
        """Damage the file in one way after the other; yields the words of the message."""
        other_formats = {**contents, "format": FORMAT - 1}, {**contents, "format": "x"}, {"format": None}
        for other in (*other_formats, [contents], 5):
            torch.save(other, path)
            yield "not a model of this version of Glimpse"
        path.unlink()
        yield "No such file"
        path.mkdir()
        yield "Is a directory"

    before = {file: file.read_bytes() for file in Path("metrics").rglob("*") if "all10" in file.name}
    assert len(before) > 2
    for words in damage():
        for reader in readers:
            assert_refused(reader, "models/all10/model.pt", words)
    assert before == {file: file.read_bytes() for file in before} and not Path("sheet.png").exists()


def test_features_that_are_damaged_or_of_other_settings_are_refused(copied, stage):
    path = copied / "data/features.npy"
    intact, array = path.read_bytes(), np.load(path)

    def damage():
        for length in (0, 5, 8, 60, 127, 128, 1000, len(intact) - 1):
            path.write_bytes(intact[:length])
            yield "damaged"
        path.write_bytes(b"\0" * 100 + intact[100:])
        yield "damaged"
        np.save(path, np.array([Payload(copied / "executed")], dtype=object))
        yield "damaged"
        for other in (array[:-1], array[None], array[0]):
            np.save(path, other)
            yield "its shape is"
        path.unlink()
        yield "No such file"
        path.mkdir()
        yield "Is a directory"

    for words in damage():
        for name in (["train", "all10"], ["evaluate"]):
            assert_refused(lambda name=name: stage(copied, *name), "data/features.npy", words, "run `dvc repro`")
    path.rmdir()
    for other in (array[:, :1], array[:, :, :-1], array[..., :-1]):
        np.save(path, other)
        assert_refused(lambda: stage(copied, "train", "first5"), "data/features.npy: its shape is", "run `dvc repro`")
    assert not (copied / "executed").exists()


def test_stored_frames_that_are_damaged_are_refused(copied, stage):
    for folder in (".cache/features", "data/features.npy"):
        path = copied / folder
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shard = max((copied / "data/frames").iterdir(), key=lambda file: file.stat().st_size)
    intact = shard.read_bytes()
    jpeg = intact.index(b"\xff\xd8\xff")

    def damaged_contents():
        for length in (0, 100, 511, 512, 5000, len(intact) // 2):
            yield intact[:length]
        yield b"\xff" * len(intact)
        yield intact[:jpeg] + b"\0" * 600 + intact[jpeg + 600 :]
        yield None

    for content in damaged_contents():
        shard.write_bytes(content) if content is not None else shard.unlink()
        for name in ("duplicates", "features"):
            assert_refused(lambda name=name: stage(copied, name), "data/frames", "run `dvc repro frames`")
    assert not (copied / "data/features.npy").exists()


@pytest.mark.parametrize(
    ("table", "stages"),
    [
        ("data/clips.csv", ["duplicates", "split", "features", "train", "evaluate", "report"]),
        ("data/duplicates.csv", ["split"]),
        ("data/split.csv", ["train", "evaluate", "report"]), ("data/leaks.csv", ["report"]),
        ("data/rejected.csv", ["report"]), ("metrics/tables/recall.csv", ["report"]),
    ],
)  # fmt: skip
def test_tables_that_are_damaged_are_refused(copied, stage, table, stages):
    path = copied / table
    lines = path.read_text().splitlines()
    contents = [b"", b"\0\0\0", b"\xff\xfe", b"x,y\n1,2\n", lines[0].replace("clip", "klip", 1).encode(), None]
    contents += [('"' + "\n".join(lines)).encode(), "\n".join(lines[::-1]).encode()][: 1 + (len(lines) > 1)]
    for content in contents:
        path.write_bytes(content) if content is not None else path.unlink()
        for name in stages:
            assert_refused(lambda name=name: stage(copied, name, *["all10"] * (name == "train")), table)


@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_a_split_table_without_clips_of_a_split_is_refused(copied, stage, name):
    table = pd.read_csv(copied / "data/split.csv")
    table[table["split"] != name].to_csv(copied / "data/split.csv", index=False)
    for command in [["evaluate"], *[["train", "all10"]] * (name != "test")]:
        assert_refused(
            lambda command=command: stage(copied, *command), f"data/split.csv: has no clips of the split {name}"
        )


def test_damaged_cache_entries_are_written_anew(copied, stage):
    outputs = [copied / "data/features.npy", *(copied / "data/frames").iterdir(), copied / "data/clips.csv"]
    before = {path: path.read_bytes() for path in outputs}
    rng = random.Random(0)
    for kind in ("frames", "features"):
        entries = sorted((copied / ".cache" / kind).glob("*/*"))
        assert len(entries) >= 80
        intact = {entry: entry.read_bytes() for entry in entries}
        for number, entry in enumerate(rng.sample(entries, 9)):
            content = bytearray(intact[entry])
            if number < 5:  # cut off, some where a member of the tar ends
                content = content[: [0, 10, 512 * 40, len(content) // 2, len(content) - 1][number]]
            else:
                content[rng.randrange(len(content))] ^= 1
            entry.write_bytes(content)
        stage(copied, kind)
        assert {entry: entry.read_bytes() for entry in entries} == intact
    assert before == {path: path.read_bytes() for path in outputs}


def test_a_cache_entry_that_goes_missing_during_a_stage_is_named(tmp_path):
    gone = tmp_path / "gone"
    assert_refused(
        lambda: decode_all.write_shards(tmp_path / "frames", ["wave/1.avi"], [gone]), str(gone), "run `dvc repro`"
    )
    assert_refused(lambda: gather([gone], tmp_path / "features.npy"), str(gone), "run `dvc repro`")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 600, 2048])
def test_a_truncated_cache_entry_is_none(tmp_path, length):
    path = tmp_path / "entry.tar"
    frame_store.write_entry(path, {"frames": 3}, [b"one", b"two"])
    assert frame_store.read_entry(path) == ({"frames": 3}, [b"one", b"two"])
    path.write_bytes(path.read_bytes()[:length])
    assert frame_store.read_entry(path) is None
    path.unlink()
    assert frame_store.read_entry(path) is None
    path.mkdir()
    assert frame_store.read_entry(path) is None


def test_a_cache_entry_may_be_empty(tmp_path):
    files.cache_write(tmp_path / "nothing", b"")
    assert files.cache_read(tmp_path / "nothing") == b"" and os.stat(tmp_path / "nothing").st_size == 32

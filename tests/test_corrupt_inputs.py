"""Files that are missing, damaged or not what they say: one line that names them, and nothing in them is executed."""

import os
import pickle
import random
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import picture
import predict
import pytest
import torch

import features
from glimpse.core import files
from glimpse.core import frame_store as store
from glimpse.frames import decode_all
from glimpse.inference.torch_recognizer import TorchRecognizer
from glimpse.model import network as model


def refused(act, *words):
    """The line that `act` ends with, with these words in it."""
    with pytest.raises(SystemExit) as stop:
        act()
    line = str(stop.value)
    assert len(line.splitlines()) == 1 and all(word in line for word in words), line


@pytest.fixture(scope="module")
def sound(trained):
    return (trained / "models/all10/model.pt").read_bytes()


def test_a_model_that_is_cut_off_anywhere_is_refused(sound, tmp_path):
    path = tmp_path / "model.pt"
    lengths = [0, 1, 2, 4, 30, 64, 100, *range(1000, len(sound), len(sound) // 25)]
    for length in [*lengths, *(len(sound) - less for less in (1, 2, 22, 100, 5000))]:
        path.write_bytes(sound[:length])
        refused(lambda: TorchRecognizer(path), str(path), "not a model of Glimpse, or damaged")


def test_a_model_with_one_wrong_bit_is_refused_or_the_same_model(sound, tmp_path):
    path, dice = tmp_path / "model.pt", random.Random(0)
    whole = model.load(_written(path, sound))
    refusals = 0
    for _ in range(60):
        place = dice.choice([dice.randrange(len(sound)), dice.randrange(4000), len(sound) - 1 - dice.randrange(4000)])
        flipped = bytearray(sound)
        flipped[place] ^= 1 << dice.randrange(8)
        try:
            kept = model.load(_written(path, flipped))
        except SystemExit as stop:
            assert len(str(stop).splitlines()) == 1 and str(path) in str(stop)
            refusals += 1
        else:  # what fills up the file between its parts may be anything
            assert all(torch.equal(kept["state"][key], value) for key, value in whole["state"].items())
            assert {k: v for k, v in kept.items() if k not in ("state", "backbones")} == {
                k: v for k, v in whole.items() if k not in ("state", "backbones")
            }
    assert refusals > 40


def _written(path, content):
    path.write_bytes(content)
    return path


class Payload:
    """What unpickling it would do: make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("how", ["torch", "old torch", "pickle"])
def test_code_in_a_model_is_never_executed(sound, tmp_path, how, inside):
    path, proof = tmp_path / "model.pt", tmp_path / "executed"
    kept = torch.load(_written(path, sound), weights_only=True)
    contents = kept | {"best": Payload(proof)} if inside else Payload(proof)
    if how == "pickle":
        path.write_bytes(pickle.dumps(contents if not inside else {"format": model.FORMAT, "best": Payload(proof)}))
    else:
        torch.save(contents, path, _use_new_zipfile_serialization=how == "torch")
    refused(lambda: TorchRecognizer(path), str(path), "not a model of Glimpse, or damaged")
    assert not proof.exists()
    torch.load(path, weights_only=False) if how != "pickle" else pickle.loads(path.read_bytes())
    assert proof.exists()  # the payload does work where code is let in


def test_a_model_of_another_version_a_folder_or_none_is_refused_wherever_one_is_read(copied, stage, monkeypatch):
    monkeypatch.chdir(copied)
    path = Path("models/all10/model.pt")
    kept = torch.load(path, weights_only=True)

    def tools():
        monkeypatch.setattr(sys, "argv", ["predict.py", "data/demo/wave"])
        yield predict.main
        monkeypatch.setattr(sys, "argv", ["picture.py", "picture.png"])
        yield picture.main
        yield lambda: stage(copied, "evaluate")
        yield lambda: stage(copied, "report")

    def damaged():
        for other in ({**kept, "format": model.FORMAT - 1}, {**kept, "format": "x"}, {"format": None}, [kept], 5):
            torch.save(other, path)
            yield "not a model of this version of Glimpse"
        path.unlink()
        yield "No such file"
        path.mkdir()
        yield "Is a directory"

    before = {file: file.read_bytes() for file in Path("metrics").iterdir() if "all10" in file.name}
    for words in damaged():
        for tool in tools():
            refused(tool, "models/all10/model.pt", words)
    assert before == {file: file.read_bytes() for file in before} and not Path("picture.png").exists()


def test_features_that_are_damaged_or_of_other_settings_are_refused(copied, stage):
    path = copied / "data/features.npy"
    sound, array = path.read_bytes(), np.load(path)

    def damaged():
        for length in (0, 5, 8, 60, 127, 128, 1000, len(sound) - 1):
            path.write_bytes(sound[:length])
            yield "damaged"
        path.write_bytes(b"\0" * 100 + sound[100:])
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

    for words in damaged():
        for name in (["train", "all10"], ["evaluate"]):
            refused(lambda name=name: stage(copied, *name), "data/features.npy", words, "run `dvc repro`")
    path.rmdir()
    for other in (array[:, :1], array[:, :, :-1], array[..., :-1]):
        np.save(path, other)
        refused(lambda: stage(copied, "train", "first5"), "data/features.npy: its shape is", "run `dvc repro`")
    assert not (copied / "executed").exists()


def test_stored_frames_that_are_damaged_are_refused(copied, stage):
    for folder in (".cache/features", "data/features.npy"):
        path = copied / folder
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shard = max((copied / "data/frames").iterdir(), key=lambda file: file.stat().st_size)
    sound = shard.read_bytes()
    jpeg = sound.index(b"\xff\xd8\xff")

    def damaged():
        for length in (0, 100, 511, 512, 5000, len(sound) // 2):
            yield sound[:length]
        yield b"\xff" * len(sound)
        yield sound[:jpeg] + b"\0" * 600 + sound[jpeg + 600 :]
        yield None

    for content in damaged():
        shard.write_bytes(content) if content is not None else shard.unlink()
        for name in ("duplicates", "features"):
            refused(lambda name=name: stage(copied, name), "data/frames", "run `dvc repro frames`")
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
            refused(lambda name=name: stage(copied, name, *["all10"] * (name == "train")), table)


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_split_that_lacks_a_part_is_refused(copied, stage, part):
    split = pd.read_csv(copied / "data/split.csv")
    split[split["part"] != part].to_csv(copied / "data/split.csv", index=False)
    for name in ["evaluate"] + ["train"] * (part != "test"):
        refused(
            lambda name=name: stage(copied, name, *["all10"] * (name == "train")),
            f"data/split.csv: has no clips of the part {part}",
        )


def test_damaged_cache_entries_are_made_anew(copied, stage):
    outputs = [copied / "data/features.npy", *(copied / "data/frames").iterdir(), copied / "data/clips.csv"]
    before = {path: path.read_bytes() for path in outputs}
    dice = random.Random(0)
    for kind in ("frames", "features"):
        entries = sorted((copied / ".cache" / kind).glob("*/*"))
        assert len(entries) >= 80
        sound = {entry: entry.read_bytes() for entry in entries}
        for number, entry in enumerate(dice.sample(entries, 9)):
            content = bytearray(sound[entry])
            if number < 5:  # cut off, some where a member of the tar ends
                content = content[: [0, 10, 512 * 40, len(content) // 2, len(content) - 1][number]]
            else:
                content[dice.randrange(len(content))] ^= 1
            entry.write_bytes(content)
        stage(copied, kind)
        assert {entry: entry.read_bytes() for entry in entries} == sound
    assert before == {path: path.read_bytes() for path in outputs}


def test_a_cache_entry_that_goes_missing_during_a_stage_is_named(tmp_path):
    gone = tmp_path / "gone"
    refused(lambda: decode_all.write_shards(tmp_path / "frames", ["wave/1.avi"], [gone]), str(gone), "run `dvc repro`")
    refused(lambda: features.gather([gone], tmp_path / "features.npy"), str(gone), "run `dvc repro`")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 600, 2048])
def test_a_cache_entry_is_whole_or_none(tmp_path, length):
    path = tmp_path / "entry.tar"
    store.write_entry(path, {"frames": 3}, [b"one", b"two"])
    assert store.read_entry(path) == ({"frames": 3}, [b"one", b"two"])
    path.write_bytes(path.read_bytes()[:length])
    assert store.read_entry(path) is None
    path.unlink()
    assert store.read_entry(path) is None
    path.mkdir()
    assert store.read_entry(path) is None


def test_what_is_remembered_is_empty_too(tmp_path):
    files.cache_write(tmp_path / "nothing", b"")
    assert files.cache_read(tmp_path / "nothing") == b"" and os.stat(tmp_path / "nothing").st_size == 32

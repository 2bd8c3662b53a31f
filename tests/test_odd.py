"""Whatever lies in a data set is used or named with its reason, one by one and all together."""

import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import cv2
import bad_decoders
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, grey_levels, peak_of, write_clip, write_params

import frames
from glimpse.frames import dataset as clips
from glimpse.frames import decoder as video

ODD = Path(os.environ.get("GLIMPSE_ODD", "not given"))
LACKS = "a codec that this OpenCV lacks"


def clip_bytes(path, **how):
    """A good clip of 30 frames: its bytes, and where each frame begins in them."""
    content = write_clip(path.with_name("good.avi"), grey_levels(30), **how).read_bytes()
    path.with_name("good.avi").unlink()
    places = [found.start() for found in re.finditer(b"00dc", content)][:30]
    return content, places


def cut(path, frames):
    content, places = clip_bytes(path)
    path.write_bytes(content[: places[frames]])


def zeroed(path, first, last):
    content, places = clip_bytes(path)
    size = places[last] - places[first]
    path.write_bytes(content[: places[first]] + bytes(size) + content[places[last] :])


def other_codec(path, name):
    path.write_bytes(clip_bytes(path)[0].replace(b"MJPG", name))


def claims(path, side):
    """A clip without compression whose header claims a larger picture: the size is believed, the frames are not."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"I420"), 25, (64, 48))
    for level in grey_levels(5):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    content = bytearray(path.read_bytes())
    place = content.index(b"strf") + 12
    content[place : place + 8] = struct.pack("<ii", side, side)
    path.write_bytes(content)


# What is made, and the reason it is rejected for.
BAD = {
    "empty.avi": (lambda path: path.write_bytes(b""), "empty file"),
    "text.mp4": (lambda path: path.write_text("Это не видео\n" * 9), "not a video: text"),
    "playlist.ts": (lambda path: path.write_text("#EXTM3U\n#EXTINF:1\nfile:///etc/passwd\n"), "not a video: text"),
    "pointer.mp4": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"),
        "pointer of git-lfs: run `git lfs pull`",
    ),
    "noise.mkv": (lambda path: path.write_bytes(bytes(range(256)) * 9), "not a video that OpenCV can open"),
    "header.avi": (lambda path: path.write_bytes(clip_bytes(path)[0][:220]), f"cut off, or {LACKS} (MJPG)"),
    "header.mp4": (lambda path: path.write_bytes(b"\0\0\0\x1cftypisom" + bytes(246)), f"cut off, or {LACKS}"),
    "codec.avi": (lambda path: other_codec(path, b"ZZZZ"), f"cut off, or {LACKS} (ZZZZ)"),
    "cut.avi": (lambda path: cut(path, 10), "10 of 30 frames could be read"),
    "one frame.avi": (lambda path: write_clip(path, [100]), "only one frame could be decoded"),
    "tiny.avi": (lambda path: write_clip(path, [0, 200], 16, 16), "too small: 16x16 pixels, at least 24 are needed"),
    "narrow.avi": (lambda path: write_clip(path, [0, 200], 1024, 32), "too narrow: 1024x32 pixels"),
    "black.avi": (lambda path: write_clip(path, [0] * 30), "all frames are identical"),
    "large.avi": (lambda path: claims(path, 9000), "too large: its header says 9000x9000 pixels"),
    "very large.avi": (lambda path: claims(path, 100_000), f"no frame could be decoded: damaged, or {LACKS}"),
    "link to nothing.avi": (lambda path: path.symlink_to("none"), "a link to nothing"),
    "link to itself.avi": (lambda path: path.symlink_to(path.name), "can't be read: Too many levels of symbolic links"),
    "pipe.avi": (os.mkfifo, "not a file, but a folder, pipe or device"),
}
DAMAGED = {"cut late.avi": (lambda path: cut(path, 20), 20), "zeroed.avi": (lambda path: zeroed(path, 10, 15), 25)}
# These are never opened.
IGNORED = {
    ".hidden.avi": (lambda path: write_clip(path, [0, 99]), "hidden file"),
    "Thumbs.db": (lambda path: path.write_bytes(b"junk"), "not the extension of a video: .db"),
    "no extension": (lambda path: write_clip(path.with_name("x.avi"), [1, 98]).rename(path), "no extension"),
    "folder.avi": (Path.mkdir, "empty folder"),
    "loop": (lambda path: path.symlink_to("..", target_is_directory=True), "a link to a folder above it"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_says_why(name, tmp_path):
    make, reason = BAD[name]
    make(tmp_path / name)
    if reason.endswith("could be read"):
        clip = video.read_clip(tmp_path / name, 5, 32)
        assert reason == f"{clip.frames} of {clip.stated} frames could be read"
    else:
        with pytest.raises(video.UnreadableClip) as said:
            video.read_clip(tmp_path / name, 5, 32)
        assert str(said.value) == reason


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_clip_is_read_as_far_as_it_goes(name, tmp_path):
    make, readable = DAMAGED[name]
    make(tmp_path / name)
    clip = video.read_clip(tmp_path / name, 5, 32)
    assert (clip.frames, clip.declared_frames, len(clip.candidates)) == (readable, 30, 5)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_or_folder_that_may_not_be_read_is_named(tmp_path):
    path = write_clip(tmp_path / "a/clip.avi", [0, 200])
    path.chmod(0)
    with pytest.raises(video.UnreadableClip, match="can't be read: Permission denied"):
        video.read_clip(path, 5, 32)
    path.parent.chmod(0)
    assert clips.find_clips(tmp_path)[1] == {"a": "can't be read: Permission denied"}
    path.parent.chmod(0o700)


def test_a_folder_that_cant_be_listed_is_named(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    real = os.scandir

    def scandir(path):
        if Path(path).name == "a":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert clips.find_clips(tmp_path) == ([], {"a": "can't be read: Permission denied"})


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_no_text_is_named(tmp_path):
    for name in (b"a/\xff.avi", b"\xfe/1.avi"):
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    reason = "its name is not text in UTF-8: rename it"
    assert clips.find_clips(tmp_path) == ([], {"\\udcfe": reason, "a/\\udcff.avi": reason})


def test_a_size_that_is_too_large_is_refused_before_memory_is_taken(tmp_path):
    """A frame of 9000x9000 pixels has 243 MB."""
    claims(tmp_path / "large.avi", 9000)
    code = (
        "import sys; from glimpse.frames import decoder as video\n"
        "try: video.read_clip(sys.argv[1], 5, 32)\n"
        "except video.Unreadable as reason: print(reason)"
    )
    done, peak = peak_of([sys.executable, "-c", code, tmp_path / "large.avi"], ROOT / "src")
    assert "too large" in done and 10 < peak < 200


def test_a_frame_of_another_size_does_not_stop_a_clip(tmp_path):
    """The picture's size stands in every frame of Motion JPEG; some damage, and few files, change it on the way."""
    content, places = clip_bytes(tmp_path / "x")
    start, size = b"\xff\xc0\x00\x11\x08", struct.pack(">HH", 40, 56)
    place = content.index(start, places[15]) + len(start)
    (tmp_path / "clip.avi").write_bytes(content[:place] + size + content[place + 4 :])
    clip = video.read_clip(tmp_path / "clip.avi", 30, 48)
    assert clip.frames == 30 and {frame.shape for frame in [*clip.candidates, *clip.diffs]} == {(48, 64, 3)}


@pytest.fixture
def dataset(tmp_path):
    """A folder with params.yaml and twelve good clips of two actions."""
    for number in range(12):
        write_clip(tmp_path / f"clips/{'up' if number % 2 else 'down'}/{number:02d}.avi", grey_levels(10 + number))
    write_params(tmp_path, dataset="clips", candidates=6, store_size=32, frames=5)
    return tmp_path


def set_to(project, old, new):
    text = (project / "params.yaml").read_text()
    assert old in text
    (project / "params.yaml").write_text(text.replace(old, new))


def rejected_in(project):
    return dict(pd.read_csv(project / "data/rejected.csv", keep_default_na=False).to_numpy().tolist())


def used_in(project):
    return pd.read_csv(project / "data/clips.csv").set_index("clip")


def copy(path, of):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(of.read_bytes())


def run_alone(project, *arguments):
    """The stage as DVC runs it: what it prints, both streams."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    command = [sys.executable, ROOT / "src/frames.py", *arguments]
    return subprocess.run(command, cwd=project, timeout=600, check=False, **streams)


def test_all_together_each_is_used_or_named_and_nothing_else_is_printed(dataset):
    for number in range(12, 40):
        write_clip(dataset / f"clips/down/{number:02d}.avi", grey_levels(10 + number))
    good = {f"{clip.parent.name}/{clip.name}" for clip in (dataset / "clips").rglob("*.avi")}
    for name, (make, _) in (BAD | DAMAGED | IGNORED).items():
        make(dataset / "clips/up" / name)
    copy(dataset / "clips/up/copy.avi", dataset / "clips/up/01.avi")
    copy(dataset / "clips/up/00.avi", dataset / "clips/down/00.avi")
    copy(dataset / "clips/loose.avi", dataset / "clips/down/00.avi")
    done = run_alone(dataset, "--workers", "2")
    assert done.returncode == 0, done.stdout
    wanted = {f"up/{name}": reason for name, (_, reason) in (BAD | IGNORED).items()}
    wanted |= {"up/copy.avi": "duplicate of up/01.avi", "loose.avi": "not in the folder of an action",
               "up/00.avi": "duplicate of down/00.avi, under another action"}  # fmt: skip
    assert rejected_in(dataset) == wanted
    used = used_in(dataset)["min_decoded"]
    damaged = {f"up/{name}": round(readable / 30, 3) for name, (_, readable) in DAMAGED.items()}
    assert used.to_dict() == dict.fromkeys(good, 1.0) | damaged
    assert all(line.startswith("frames: ") for line in done.stdout.splitlines()), done.stdout
    assert "frames: 1 of the clips used are damaged" in done.stdout  # the other one has 0.833
    assert f"frames: not used: {len(wanted) - 10} more, all in data/rejected.csv" in done.stdout


def test_how_much_must_be_readable_is_decided_without_decoding_again(dataset, stage):
    cut(dataset / "clips/up/cut.avi", 20)
    stage(dataset, "frames", "--workers", "1")
    assert used_in(dataset).loc["up/cut.avi", "min_decoded"] == 0.667
    (dataset / "params.yaml").write_text(
        (dataset / "params.yaml").read_text().replace("readable: 0.5", "readable: 0.67")
    )
    entries = {entry: entry.stat().st_mtime_ns for entry in (dataset / ".cache").rglob("*.tar")}
    stage(dataset, "frames", "--workers", "1")
    assert rejected_in(dataset) == {"up/cut.avi": "20 of 30 frames could be read"}
    assert entries == {entry: entry.stat().st_mtime_ns for entry in (dataset / ".cache").rglob("*.tar")}


@pytest.mark.parametrize(
    ("stated", "fps", "known"), [(40, 25, 40), (20, 25, 20), (0, 25, 0), (10**12, 25, 0), (3000, 1000, 0)]
)
def test_a_number_of_frames_that_cant_be_true_says_nothing(tmp_path, monkeypatch, stated, fps, known):
    class Stated:
        def __init__(self, reader):
            self.reader = reader

        def get(self, what):
            other = {cv2.CAP_PROP_FRAME_COUNT: stated, cv2.CAP_PROP_FPS: fps}
            return other[what] if what in other else self.reader.get(what)

        def __getattr__(self, name):
            return getattr(self.reader, name)

    real = video.open_capture
    monkeypatch.setattr(video, "open_capture", lambda path: Stated(real(path)))
    assert video.read_clip(write_clip(tmp_path / "clip.avi", grey_levels(30)), 5, 32).declared_frames == known


def test_reject_fail_ends_the_stage_and_names_the_clips(dataset, stage):
    set_to(dataset, "reject: report", "reject: fail")
    for number in range(4):
        (dataset / f"clips/up/empty{number}.avi").write_bytes(b"")
    (dataset / "clips/up/Thumbs.db").write_bytes(b"junk")  # nobody takes that for a clip
    with pytest.raises(SystemExit) as stop:
        stage(dataset, "frames")
    assert str(stop.value) == (
        "frames: 4 clips can't be used, and reject is fail: up/empty0.avi: empty file; up/empty1.avi: empty file; "
        "up/empty2.avi: empty file; 1 more in data/rejected.csv"
    )
    assert len(rejected_in(dataset)) == 5


@pytest.mark.parametrize("on_bad_clip", ["report", "fail"])
def test_more_bad_clips_than_good_ones_are_an_error_whatever_is_set(reject):
    bad = {f"up/copy{n}.avi": f"duplicate of down/{n}.avi" for n in range(3)} | {"up/empty.avi": "empty file"}
    with pytest.raises(SystemExit) as stop:
        frames.check(bad, 3, reject)
    assert str(stop.value) == (
        "frames: 4 of 7 clips can't be used, that is too many; 3 of them like this: up/copy0.avi: duplicate of "
        "down/0.avi; all reasons are in data/rejected.csv"
    )
    frames.check(bad, 4, "report")


def test_files_that_are_named_like_no_clips_never_end_the_stage():
    frames.check(
        {".1.avi": "hidden file", "a/Thumbs.db": "not the extension of a video: .db", ".git": "hidden"}, 1, "fail"
    )


def test_a_clip_that_crashes_its_decoder_or_never_ends_is_tried_again(dataset, stage, monkeypatch, capfd):
    bad = {"down/segfault.avi": "the decoder crashed", "up/hangs.avi": "not decoded within 3 s",
           "up/hogs.avi": "decoding it takes too much memory"}  # fmt: skip
    for number, name in enumerate(bad):
        write_clip(dataset / "clips" / name, grey_levels(50 + number))
    with monkeypatch.context() as patch:
        patch.setattr(frames, "decode", decoders.decode_frames)
        stage(dataset, "frames", "--workers", "2", "--limit", "3")
    assert rejected_in(dataset) == bad and len(used_in(dataset)) == 12
    assert capfd.readouterr().err == ""
    stage(dataset, "frames")
    assert rejected_in(dataset) == {} and len(used_in(dataset)) == 15


# What becomes of each real odd file: the share of its frames that can be read, or the reason it is rejected for.
REAL = {
    ".hidden.avi": "hidden file", "Thumbs.db": "not the extension of a video: .db", "UPPERCASE.AVI": 1.0,
    "all_black.avi": "all frames are identical",
    "av1_video.mkv": f"no frame could be decoded: damaged, or {LACKS} (AV01)",
    "bt709_full_range.mp4": 1.0, "corrupted.mp4": 0.56, "flipping_a_pancake.mkv": 0.997, "h264_10bits.mp4": 1.0,
    "h265_10bits.mp4": 1.0, "h265_video.mp4": 1.0, "header_only_258bytes.mp4": f"cut off, or {LACKS}",
    "jpeg_as_avi.avi": "only one frame could be decoded", "lfs_pointer.mp4": "pointer of git-lfs: run `git lfs pull`",
    "manifest.csv": "not the extension of a video: .csv", "mmaction2_test.avi": 1.0, "no_extension": "no extension",
    "one_frame.avi": "only one frame could be decoded", "paddle_example.avi": 1.0,
    "person01_handclapping_d1_uncomp (1).mp4": 1.0, "rotation_0.mov": 1.0, "rotation_180.mov": 1.0,
    "rotation_270.mov": 1.0, "rotation_90.mov": 1.0, "text_as_video.mp4": "not a video: text", "three_frames.avi": 1.0,
    "tiny_16x16.avi": "too small: 16x16 pixels, at least 24 are needed",
    "truncated_2KB.avi": f"cut off, or {LACKS} (xvid)", "truncated_50pct.avi": "137 of 282 frames could be read",
    "unordered.mov": "all frames are identical", "zero_bytes.avi": "empty file", "zeroed_middle.avi": 0.667,
    "日本語_прыжок_é.avi": 1.0,
}  # fmt: skip


@pytest.mark.skipif(not ODD.is_dir(), reason="real odd files not here: GLIMPSE_ODD names their folder")
def test_real_odd_files_one_by_one_and_all_together(dataset, stage, capfd):
    names = sorted(os.listdir(ODD))
    assert names == sorted(REAL)
    for number in range(12, 30):
        write_clip(dataset / f"clips/down/{number:02d}.avi", grey_levels(10 + number))
    good = len(list((dataset / "clips").rglob("*.avi")))
    for chosen in [*([name] for name in names), names]:
        for name in chosen:
            (dataset / "clips/up" / name).symlink_to(ODD / name)
        stage(dataset, "frames", "--workers", "1")
        assert all(line.startswith("frames: ") for line in "".join(capfd.readouterr()).splitlines())
        wanted = {f"up/{name}": REAL[name] for name in chosen}
        if len(chosen) > 1:
            wanted["up/日本語_прыжок_é.avi"] = "duplicate of up/UPPERCASE.AVI"
        assert rejected_in(dataset) == {name: said for name, said in wanted.items() if isinstance(said, str)}
        used = used_in(dataset)["min_decoded"]
        assert {name: share for name, share in used.items() if name in wanted} == {
            name: said for name, said in wanted.items() if not isinstance(said, str)
        }
        assert len(used) == good + sum(not isinstance(said, str) for said in wanted.values())
        for name in chosen:
            (dataset / "clips/up" / name).unlink()

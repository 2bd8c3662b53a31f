"""Every file in a data set is used or listed with a reason, alone and together with others."""

import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import bad_decoders
import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, grey_levels, peak_memory, write_clip, write_params

from glimpse.frames import decode_all, decoder
from glimpse.frames.find_clips import find_clips

ODD = Path(os.environ.get("GLIMPSE_ODD", "not given"))
LACKS = "a codec that this OpenCV lacks"


def clip_bytes(path, **how):
    """A valid clip of 30 frames: its bytes, and the offset of each frame."""
    content = write_clip(path.with_name("good.avi"), grey_levels(30), **how).read_bytes()
    path.with_name("good.avi").unlink()
    offsets = [match.start() for match in re.finditer(b"00dc", content)][:30]
    return content, offsets


def cut(path, frames):
    content, offsets = clip_bytes(path)
    path.write_bytes(content[: offsets[frames]])


def zeroed(path, first, last):
    content, offsets = clip_bytes(path)
    size = offsets[last] - offsets[first]
    path.write_bytes(content[: offsets[first]] + bytes(size) + content[offsets[last] :])


def other_codec(path, name):
    path.write_bytes(clip_bytes(path)[0].replace(b"MJPG", name))


def declare_size(path, side):
    """An uncompressed clip whose header declares larger frames; the reader believes it, but can decode none."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"I420"), 25, (64, 48))
    for level in grey_levels(5):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    content = bytearray(path.read_bytes())
    offset = content.index(b"strf") + 12
    content[offset : offset + 8] = struct.pack("<ii", side, side)
    path.write_bytes(content)


# How each file is written, and the reason for which it is rejected.
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
    "cut.avi": (lambda path: cut(path, 10), "10 of 30 frames could be decoded"),
    "one frame.avi": (lambda path: write_clip(path, [100]), "only one frame could be decoded"),
    "tiny.avi": (lambda path: write_clip(path, [0, 200], 16, 16), "too small: 16x16 pixels, at least 24 are needed"),
    "narrow.avi": (lambda path: write_clip(path, [0, 200], 1024, 32), "too narrow: 1024x32 pixels"),
    "black.avi": (lambda path: write_clip(path, [0] * 30), "all frames are identical"),
    "large.avi": (lambda path: declare_size(path, 9000), "too large: its header says 9000x9000 pixels"),
    "very large.avi": (lambda path: declare_size(path, 100_000), f"no frame could be decoded: damaged, or {LACKS}"),
    "link to nothing.avi": (lambda path: path.symlink_to("none"), "a link to nothing"),
    "link to itself.avi": (lambda path: path.symlink_to(path.name), "can't be read: Too many levels of symbolic links"),
    "pipe.avi": (os.mkfifo, "not a file, but a folder, pipe or device"),
}
DAMAGED = {"cut late.avi": (lambda path: cut(path, 20), 20), "zeroed.avi": (lambda path: zeroed(path, 10, 15), 25)}
# Never opened.
IGNORED = {
    ".hidden.avi": (lambda path: write_clip(path, [0, 99]), "hidden file"),
    "Thumbs.db": (lambda path: path.write_bytes(b"junk"), "not the extension of a video: .db"),
    "no extension": (lambda path: write_clip(path.with_name("x.avi"), [1, 98]).rename(path), "no extension"),
    "folder.avi": (Path.mkdir, "empty folder"),
    "loop": (lambda path: path.symlink_to("..", target_is_directory=True), "a link to a folder above it"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_gives_the_reason(name, tmp_path):
    make, reason = BAD[name]
    make(tmp_path / name)
    if reason.endswith("frames could be decoded"):
        clip = decoder.read_clip(tmp_path / name, 5, 32)
        assert reason == f"{clip.frames} of {clip.declared_frames} frames could be decoded"
    else:
        with pytest.raises(decoder.UnreadableClip) as error:
            decoder.read_clip(tmp_path / name, 5, 32)
        assert str(error.value) == reason


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_clip_is_decoded_as_far_as_possible(name, tmp_path):
    make, decodable = DAMAGED[name]
    make(tmp_path / name)
    clip = decoder.read_clip(tmp_path / name, 5, 32)
    assert (clip.frames, clip.declared_frames, len(clip.candidates)) == (decodable, 30, 5)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_or_folder_without_read_permission_is_listed(tmp_path):
    path = write_clip(tmp_path / "a/clip.avi", [0, 200])
    path.chmod(0)
    with pytest.raises(decoder.UnreadableClip, match="can't be read: Permission denied"):
        decoder.read_clip(path, 5, 32)
    path.parent.chmod(0)
    assert find_clips(tmp_path)[1] == {"a": "can't be read: Permission denied"}
    path.parent.chmod(0o700)


def test_a_folder_that_cannot_be_read_is_listed(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    original = os.scandir

    def scandir(path):
        if Path(path).name == "a":
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert find_clips(tmp_path) == ([], {"a": "can't be read: Permission denied"})


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_not_utf8_is_listed(tmp_path):
    for name in (b"a/\xff.avi", b"\xfe/1.avi"):
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    reason = "its name is not text in UTF-8: rename it"
    assert find_clips(tmp_path) == ([], {"\\udcfe": reason, "a/\\udcff.avi": reason})


def test_a_frame_size_that_is_too_large_is_rejected_before_memory_is_allocated(tmp_path):
    """A frame of 9000x9000 pixels has 243 MB."""
    declare_size(tmp_path / "large.avi", 9000)
    code = (
        "import sys; from glimpse.frames import decoder\n"
        "try: decoder.read_clip(sys.argv[1], 5, 32)\n"
        "except decoder.UnreadableClip as reason: print(reason)"
    )
    printed, peak = peak_memory([sys.executable, "-c", code, tmp_path / "large.avi"], ROOT / "src")
    assert "too large" in printed and 10 < peak < 200


def test_a_frame_of_another_size_does_not_stop_a_clip(tmp_path):
    """Every Motion JPEG frame has its own size; damage, and a few files, change it within a clip."""
    content, offsets = clip_bytes(tmp_path / "x")
    start, size = b"\xff\xc0\x00\x11\x08", struct.pack(">HH", 40, 56)
    offset = content.index(start, offsets[15]) + len(start)
    (tmp_path / "clip.avi").write_bytes(content[:offset] + size + content[offset + 4 :])
    clip = decoder.read_clip(tmp_path / "clip.avi", 30, 48)
    assert clip.frames == 30 and {frame.shape for frame in [*clip.candidates, *clip.diffs]} == {(48, 64, 3)}


@pytest.fixture
def dataset(tmp_path):
    """A folder with params.yaml and twelve valid clips of two actions."""
    for number in range(12):
        write_clip(tmp_path / f"clips/{'up' if number % 2 else 'down'}/{number:02d}.avi", grey_levels(10 + number))
    write_params(tmp_path, dataset="clips", candidates=6, frame_size=32, frames=5)
    return tmp_path


def replace_setting(project, old, new):
    text = (project / "params.yaml").read_text()
    assert old in text
    (project / "params.yaml").write_text(text.replace(old, new))


def rejected_in(project):
    return dict(pd.read_csv(project / "data/rejected.csv", keep_default_na=False).to_numpy().tolist())


def used_in(project):
    return pd.read_csv(project / "data/clips.csv").set_index("clip")


def copy_file(source, path):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(source.read_bytes())


def run_script(project, *arguments):
    """Run the stage as DVC does; its output holds both streams."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    command = [sys.executable, ROOT / "src/frames.py", *arguments]
    return subprocess.run(command, cwd=project, timeout=600, check=False, **streams)


def test_all_together_every_file_is_used_or_listed_and_nothing_else_is_printed(dataset):
    for number in range(12, 40):
        write_clip(dataset / f"clips/down/{number:02d}.avi", grey_levels(10 + number))
    valid = {f"{clip.parent.name}/{clip.name}" for clip in (dataset / "clips").rglob("*.avi")}
    for name, (make, _) in (BAD | DAMAGED | IGNORED).items():
        make(dataset / "clips/up" / name)
    copy_file(dataset / "clips/up/01.avi", dataset / "clips/up/copy.avi")
    copy_file(dataset / "clips/down/00.avi", dataset / "clips/up/00.avi")
    copy_file(dataset / "clips/down/00.avi", dataset / "clips/loose.avi")
    result = run_script(dataset, "--workers", "2")
    assert result.returncode == 0, result.stdout
    expected = {f"up/{name}": reason for name, (_, reason) in (BAD | IGNORED).items()}
    expected |= {"up/copy.avi": "duplicate of up/01.avi", "loose.avi": "not in the folder of an action",
                 "up/00.avi": "duplicate of down/00.avi, under another action"}  # fmt: skip
    assert rejected_in(dataset) == expected
    used = used_in(dataset)["decoded_fraction"]
    damaged = {f"up/{name}": round(decodable / 30, 3) for name, (_, decodable) in DAMAGED.items()}
    assert used.to_dict() == dict.fromkeys(valid, 1.0) | damaged
    assert all(line.startswith("frames: ") for line in result.stdout.splitlines()), result.stdout
    assert "frames: 1 of the used clips are damaged" in result.stdout  # the other one has 0.833
    assert f"frames: not used: {len(expected) - 10} more, all in data/rejected.csv" in result.stdout


def test_min_decoded_is_applied_without_decoding_again(dataset, stage):
    cut(dataset / "clips/up/cut.avi", 20)
    stage(dataset, "frames", "--workers", "1")
    assert used_in(dataset).loc["up/cut.avi", "decoded_fraction"] == 0.667
    replace_setting(dataset, "min_decoded: 0.5", "min_decoded: 0.67")
    entries = {entry: entry.stat().st_mtime_ns for entry in (dataset / ".cache").rglob("*.tar")}
    stage(dataset, "frames", "--workers", "1")
    assert rejected_in(dataset) == {"up/cut.avi": "20 of 30 frames could be decoded"}
    assert entries == {entry: entry.stat().st_mtime_ns for entry in (dataset / ".cache").rglob("*.tar")}


@pytest.mark.parametrize(
    ("declared", "fps", "expected"), [(40, 25, 40), (20, 25, 20), (0, 25, 0), (10**12, 25, 0), (3000, 1000, 0)]
)
def test_an_impossible_declared_number_of_frames_is_ignored(tmp_path, monkeypatch, declared, fps, expected):
    class WrongHeader:
        def __init__(self, reader):
            self.reader = reader

        def get(self, prop):
            header = {cv2.CAP_PROP_FRAME_COUNT: declared, cv2.CAP_PROP_FPS: fps}
            return header[prop] if prop in header else self.reader.get(prop)

        def __getattr__(self, name):
            return getattr(self.reader, name)

    open_capture = decoder.open_capture
    monkeypatch.setattr(decoder, "open_capture", lambda path: WrongHeader(open_capture(path)))
    clip = decoder.read_clip(write_clip(tmp_path / "clip.avi", grey_levels(30)), 5, 32)
    assert clip.declared_frames == expected


def test_on_bad_clip_fail_ends_the_stage_and_names_the_clips(dataset, stage):
    replace_setting(dataset, "on_bad_clip: skip", "on_bad_clip: fail")
    for number in range(4):
        (dataset / f"clips/up/empty{number}.avi").write_bytes(b"")
    (dataset / "clips/up/Thumbs.db").write_bytes(b"junk")  # does not count: it has no clip's extension
    with pytest.raises(SystemExit) as stop:
        stage(dataset, "frames")
    assert str(stop.value) == (
        "frames: 4 clips can't be used, and on_bad_clip is fail: up/empty0.avi: empty file; up/empty1.avi: empty file; "
        "up/empty2.avi: empty file; 1 more in data/rejected.csv"
    )
    assert len(rejected_in(dataset)) == 5


@pytest.mark.parametrize("on_bad_clip", ["skip", "fail"])
def test_more_bad_than_usable_clips_are_an_error_whatever_the_setting(on_bad_clip):
    bad = {f"up/copy{n}.avi": f"duplicate of down/{n}.avi" for n in range(3)} | {"up/empty.avi": "empty file"}
    with pytest.raises(SystemExit) as stop:
        decode_all.check(bad, 3, on_bad_clip)
    assert str(stop.value) == (
        "frames: 4 of 7 clips can't be used, which is too many; 3 of them for the same reason: up/copy0.avi: duplicate "
        "of down/0.avi; all reasons are in data/rejected.csv"
    )
    decode_all.check(bad, 4, "skip")


def test_files_without_the_name_of_a_clip_never_end_the_stage():
    ignored = {".1.avi": "hidden file", "a/Thumbs.db": "not the extension of a video: .db", ".git": "hidden"}
    decode_all.check(ignored, 1, "fail")


def test_a_clip_that_crashes_its_decoder_or_never_ends_is_tried_again(dataset, stage, monkeypatch, capfd):
    bad = {"down/segfault.avi": "the decoder crashed", "up/hangs.avi": "not decoded within 3 s",
           "up/hogs.avi": "decoding it takes too much memory"}  # fmt: skip
    for number, name in enumerate(bad):
        write_clip(dataset / "clips" / name, grey_levels(50 + number))
    with monkeypatch.context() as patch:
        patch.setattr(decode_all, "decode", bad_decoders.decode_frames)
        stage(dataset, "frames", "--workers", "2", "--timeout", "3")
    assert rejected_in(dataset) == bad and len(used_in(dataset)) == 12
    assert capfd.readouterr().err == ""
    stage(dataset, "frames")
    assert rejected_in(dataset) == {} and len(used_in(dataset)) == 15


# Real odd files: the fraction of its frames that can be decoded, or the reason for which it is rejected.
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
    "truncated_2KB.avi": f"cut off, or {LACKS} (xvid)", "truncated_50pct.avi": "137 of 282 frames could be decoded",
    "unordered.mov": "all frames are identical", "zero_bytes.avi": "empty file", "zeroed_middle.avi": 0.667,
    "日本語_прыжок_é.avi": 1.0,
}  # fmt: skip


@pytest.mark.skipif(not ODD.is_dir(), reason="set GLIMPSE_ODD to the folder of real odd files")
def test_real_odd_files_alone_and_together(dataset, stage, capfd):
    names = sorted(os.listdir(ODD))
    assert names == sorted(REAL)
    for number in range(12, 30):
        write_clip(dataset / f"clips/down/{number:02d}.avi", grey_levels(10 + number))
    valid = len(list((dataset / "clips").rglob("*.avi")))
    for chosen in [*([name] for name in names), names]:
        for name in chosen:
            (dataset / "clips/up" / name).symlink_to(ODD / name)
        stage(dataset, "frames", "--workers", "1")
        assert all(line.startswith("frames: ") for line in "".join(capfd.readouterr()).splitlines())
        expected = {f"up/{name}": REAL[name] for name in chosen}
        if len(chosen) > 1:
            expected["up/日本語_прыжок_é.avi"] = "duplicate of up/UPPERCASE.AVI"
        reasons = {name: value for name, value in expected.items() if isinstance(value, str)}
        assert rejected_in(dataset) == reasons
        used = used_in(dataset)["decoded_fraction"]
        fractions = {name: value for name, value in expected.items() if not isinstance(value, str)}
        assert {name: fraction for name, fraction in used.items() if name in expected} == fractions
        assert len(used) == valid + len(fractions)
        for name in chosen:
            (dataset / "clips/up" / name).unlink()

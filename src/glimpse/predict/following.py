"""A video file followed from its beginning to its end: what happens in it when, and the same drawn into it."""

import contextlib
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

from glimpse.frames.decoder import UnreadableClip
from glimpse.inference.recognizer import Recognizer
from glimpse.predict.overlay import overlay
from glimpse.predict.segments import segments
from glimpse.predict.stream import Stream
from glimpse.predict.video_reader import VideoReader, seconds_of

COLUMNS = ["clip", "start", "end", "action", "known", "confidence"]


def predict_segments(
    recognizer: Recognizer, path: Path, seconds: float, least: float, drawn: Path | str | None = None
) -> Iterator[dict]:
    """The segments of a video, each as soon as it is over: {clip, start, end, action, known, confidence}, in seconds.

    seconds: the length of a window. least: the confidence from which on an action is known. drawn: where the video goes
    with what is believed drawn into it. Raises Unreadable with the reason.
    """
    playback, stream = VideoReader.open(path), Stream(recognizer, seconds)
    with overlay(drawn, playback, least) if drawn else contextlib.nullcontext() as show:
        for one in segments(playback, playback.followed(stream, show), stream, least):
            times = {"start": round(one.start, 2), "end": round(one.end, 2)}
            action = {"action": recognizer.class_names[one.action], "known": one.known}
            yield {"clip": str(path), **times, **action, "confidence": round(one.confidence, 4)}
    if stream.now is None:
        raise UnreadableClip(f"ends before a frame of a window of {seconds:g} s is read: give a shorter --window")


def write_overlay(recognizer: Recognizer, path: Path, least: float, drawn: Path | str) -> None:
    """Writes a clip with the belief after each frame read drawn into it, from that frame on. Raises Unreadable."""
    stream = Stream(recognizer, seconds_of(path), recognizer.positions(path.name))
    playback = VideoReader.open(path)
    with overlay(drawn, playback, least) as show:
        for _ in playback.followed(stream, show):
            pass


def as_text(row: dict) -> str:
    """A segment in one line for people, a clip's first one below its name."""
    words = f"{row['action']} {row['confidence']:.1%}"
    words = words if row["known"] else f"unknown (likeliest: {words})"
    name = "" if row["start"] else f"{row['clip']}:\n"
    return f"{name}{clock(row['start']):>9} to {clock(row['end']):>9}  {words}"


def as_csv(row: dict) -> str:
    """A segment as a line of a CSV table with COLUMNS."""
    line = io.StringIO()
    known = "yes" if row["known"] else "unknown"
    csv.writer(line, lineterminator="").writerow({**row, "known": known}.values())
    return line.getvalue()


def as_json(row: dict) -> str:
    """A segment as a JSON object."""
    return json.dumps(row, ensure_ascii=False)


def clock(seconds: float) -> str:
    """Seconds as 0:07.5, 12:00.0 or 1:02:03.4, as players show them."""
    minutes, tenths = divmod(round(seconds * 10), 600)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{tenths / 10:04.1f}" if hours else f"{minutes}:{tenths / 10:04.1f}"

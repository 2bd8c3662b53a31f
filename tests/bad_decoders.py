"""Decoders that fail, to be run in other processes, whose time limit includes the import of this file."""

import ctypes
import os
import signal
import sys
import time
from multiprocessing.connection import Connection

import cv2


class TwoArguments(Exception):
    """An exception that can be pickled, but not unpickled."""

    def __init__(self, first, second):
        super().__init__(first)


def send_half_and_die(connection, content):
    """End as a process does that the system kills, for want of memory, while it sends a result."""
    os.write(connection.fileno(), content[: len(content) // 2])
    os.kill(os.getpid(), signal.SIGKILL)


def misbehave(path):
    """Fail in the way that words in the file name choose; returns True if there are none."""
    if "segfault" in path:
        ctypes.string_at(0)
    if "exits" in path:
        os._exit(0)
    if "hangs" in path:
        time.sleep(1000)
    if "hogs" in path:
        bytearray(10 * 2**30)
    if "killed" in path:
        Connection._send = send_half_and_die
        return bytes(100_000)
    if "two arguments" in path:
        raise TwoArguments("two", "arguments")
    if "returns lambda" in path:
        return lambda: path
    if "bug" in path:
        raise KeyError(path)
    if "talks" in path:
        os.write(2, b"noise of a decoder\n")
        print("noise of a decoder", file=sys.stderr)
    return True


def slow_at_first(number):
    time.sleep(number == 0)
    return number


def pid(_):
    return os.getpid()


def blocked_signals(_):
    return signal.pthread_sigmask(signal.SIG_BLOCK, [])


def opencv_threads(_):
    return cv2.getNumThreads()


def decode_frames(path, candidates, size):
    """`decode_all.decode` for most files."""
    from glimpse.frames import decode_all

    return misbehave(os.path.basename(path)) and decode_all.decode(path, candidates, size)


def decode_clip(path, candidates, frame_size):
    """`predict.clips.decode_or_reason` for most files."""
    from glimpse.predict import clips

    return misbehave(path.name) and clips.decode_or_reason(path, candidates, frame_size)

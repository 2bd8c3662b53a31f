"""Decoders that go wrong, to be run in other processes: their time begins before this file is imported there."""

import ctypes
import os
import sys
import time


def misbehave(path):
    """What a file's name asks for; True where it asks for nothing."""
    if "segfault" in path:
        ctypes.string_at(0)
    if "exits" in path:
        os._exit(0)
    if "hangs" in path:
        time.sleep(1000)
    if "hogs" in path:
        bytearray(10 * 2**30)
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


def decode_frames(path, candidates, size):
    """`frames.decode` for most files."""
    import frames

    return misbehave(os.path.basename(path)) and frames.decode(path, candidates, size)


def decode_clip(path, candidates, size):
    """`predict.decode` for most files."""
    import predict

    return misbehave(path.name) and predict.decode(path, candidates, size)

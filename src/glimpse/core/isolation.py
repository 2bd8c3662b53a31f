"""Clips decoded in processes of their own: a decoder that crashes, hangs or eats memory costs the one clip it had.

What these processes write on stderr goes nowhere: the reason is ours to give.
"""

import contextlib
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any

import cv2

from glimpse.core.workers import without_ctrl_c

LIMIT = 300  # seconds for one clip
NOT_STARTED = "a process for decoding could not be started: is there memory left?"
ROOM = 8 * 2**30  # bytes of addresses for one process, where the system can limit them; decoding takes 1 or 2 GB


@contextlib.contextmanager
def processes(count: int, limit: float = LIMIT, room: int = ROOM) -> Iterator[Callable[..., Iterator]]:
    """Start `count` processes; gives `each(function, items, lost, ahead)`, and ends them with the block.

    `each` yields function(item) for every item, in order. Where none comes back within `limit` seconds and `room` bytes
    it yields lost(reason) in its place. `ahead`: how many items may be done before their turn, and wait in memory.
    """
    started = [_Process(room) for _ in range(count)]
    try:
        yield partial(_each, started, limit)
    finally:
        for process in started:
            process.end()


def _each(
    started: list["_Process"], limit: float, function: Callable, items: Iterable, lost: Callable, ahead: int
) -> Iterator:
    """Gives each free process the next item, yields the results in order as they come, and restarts a process that
    crashed or took too long."""
    numbered, turn = enumerate(items), 0
    done: dict[int, object] = {}
    job = next(numbered, None)
    while True:
        for process in started:
            if process.free and job and job[0] <= turn + ahead:
                process.begin(*job, function)
                job = next(numbered, None)
        while turn in done:
            yield done.pop(turn)
            turn += 1
        busy = {process.pipe: process for process in started if not process.free}
        if job is None and all(process.number is None for process in busy.values()):
            return
        ready = wait(busy, 0.5)
        for pipe, process in busy.items():
            number = process.number
            if pipe in ready:
                fine, result = process.answer()
            elif time.monotonic() > process.began + limit:
                if number is None:
                    raise SystemExit(NOT_STARTED)
                fine, result = False, f"not decoded within {limit:g} s"
                process.restart()
            else:
                continue
            if number is not None:
                done[number] = result if fine else lost(result)


class _Process:
    """One process, which has one item at a time or none."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.start()

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy threads, OpenCV's too, in whatever state
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, self.room), daemon=True)
        with without_ctrl_c():
            self.process.start()
        theirs.close()  # so that its end is the end of the pipe
        self.free, self.began = False, time.monotonic()  # free when it says so
        self.number: int | None = None

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()

    def restart(self) -> None:
        self.end()
        self.start()

    def begin(self, number: int, item: object, function: Callable) -> None:
        self.free, self.number, self.began = False, number, time.monotonic()
        with contextlib.suppress(OSError):  # it died: there will be no answer
            self.pipe.send((function, item))

    def answer(self) -> tuple[bool, Any]:
        """(True, result) or (False, reason), and the process is free for another item."""
        try:
            kind, result = self.pipe.recv()
        except (EOFError, OSError):
            if self.number is None:
                raise SystemExit(NOT_STARTED) from None
            self.restart()
            return False, "the decoder crashed"
        self.free, self.number = True, None
        if kind == "ended":
            raise SystemExit(result)
        if kind == "bug":
            raise RuntimeError(result)
        return kind == "fine", result


def _work(pipe: Connection, room: int) -> None:
    """What runs in a process: answers items until the program that started it closes the pipe or dies."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # not on Windows

        resource.setrlimit(resource.RLIMIT_AS, (room, resource.getrlimit(resource.RLIMIT_AS)[1]))
    cv2.setNumThreads(1)
    answer: tuple[str, object] = "fine", None  # the first answer says that the process is ready
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.send(answer)
            function, item = pipe.recv()
            try:
                answer = "fine", function(item)
            except SystemExit as ended:  # not the item's fault: the disk is full, say
                answer = "ended", str(ended)
            except MemoryError:
                answer = "lost", "decoding it takes too much memory"
            except Exception:
                answer = "bug", traceback.format_exc()

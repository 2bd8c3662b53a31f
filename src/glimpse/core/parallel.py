"""Process pools: results in order, and no process that outlives its `with` block or the program.

`ProcessPool` decodes clips: a decoder that crashes, hangs or eats memory costs the one clip it had.
`parallel_map` is for work that does not fail, such as trainings.

Workers are spawned, so that no lock or thread of the parent is copied; each has a pipe of its own, so that one killed
while it sends cannot block the others; what they write on stderr is discarded.
"""

import contextlib
import math
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

import cv2

TIME_LIMIT = 300  # seconds to decode one clip, and for a worker to start
MEMORY_LIMIT = 8 * 2**30  # bytes of address space of a worker, where the system can limit it; decoding takes 1 or 2 GB


class ProcessPool(contextlib.AbstractContextManager["ProcessPool"]):
    """Worker processes, started at once and killed at the end of the `with` block.

    workers: number of processes; time_limit: seconds for one item; memory_limit: bytes of address space of a worker,
    None for no limit. One thread at a time may use a pool.
    """

    def __init__(self, workers: int, time_limit: float = TIME_LIMIT, memory_limit: int | None = MEMORY_LIMIT) -> None:
        self._time_limit = time_limit
        self._workers = [_Worker(memory_limit) for _ in range(workers)]

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.kill()

    def map(self, function: Callable, items: Iterable, on_failure: Callable[[str], Any], ahead: int) -> Iterator[Any]:
        """Yield function(item) for every item, in order.

        Where a worker crashes or exceeds a limit, yield on_failure(reason) in its place and replace the worker.
        An exception of `function`, SystemExit too, is raised here, with the worker's traceback as a note.
        ahead: number of items that may be done before their turn and wait in memory.
        """
        for worker in self._workers:
            if worker.position is not None:  # of an earlier map that was not read to its end
                worker.restart()
        numbered, turn, results = enumerate(items), 0, dict[int, Any]()
        upcoming = next(numbered, None)
        while True:
            for worker in self._workers:
                if worker.idle and upcoming and upcoming[0] <= turn + ahead:
                    worker.assign(*upcoming, function, self._time_limit)
                    upcoming = next(numbered, None)
            while turn in results:
                yield results.pop(turn)
                turn += 1
            busy = [worker for worker in self._workers if not worker.idle]
            if upcoming is None and all(worker.position is None for worker in busy):
                return
            readable = wait([worker.pipe for worker in busy], 0.5)
            for worker in busy:
                position = worker.position
                if worker.pipe in readable:
                    kind, value = worker.receive()
                elif time.monotonic() > worker.deadline:
                    kind, value = worker.fail(f"not decoded within {self._time_limit:g} s")
                else:
                    continue
                if kind == "error":
                    raise value
                if kind != "ready":
                    results[position] = value if kind == "result" else on_failure(value)  # type: ignore[index]


@contextlib.contextmanager
def parallel_map(function: Callable, items: Iterable, workers: int | None = None) -> Iterator[Iterator[Any]]:
    """An iterator over function(item) for every item, in order, from `workers` processes or as many as there are cores.

    An exception of `function` is raised; a worker that crashes ends the program with one line.
    """
    jobs = list(items)
    with ProcessPool(workers or os.cpu_count() or 1, math.inf, None) as pool:
        message = "a worker process crashed: is there memory left?"
        yield pool.map(function, jobs, lambda _: sys.exit(message), len(jobs))


class _Worker:
    """One process that runs one item at a time; `position` is that of its item, None if it has none."""

    def __init__(self, memory_limit: int | None) -> None:
        self.memory_limit = memory_limit
        self.start()

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, worker_end = context.Pipe()
        self.process = context.Process(target=_serve, args=(worker_end, self.memory_limit), daemon=True)
        with _ctrl_c_blocked():
            self.process.start()
        worker_end.close()  # only the worker has it now: the pipe ends with the worker
        self.position: int | None = None
        self.idle, self.deadline = False, time.monotonic() + TIME_LIMIT  # idle once it says that it is ready

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()

    def restart(self) -> None:
        self.kill()
        self.start()

    def assign(self, position: int, item: Any, function: Callable, time_limit: float) -> None:
        self.idle, self.position, self.deadline = False, position, time.monotonic() + time_limit
        with contextlib.suppress(OSError):  # the worker is dead: `receive` will notice
            self.pipe.send((function, item))

    def receive(self) -> tuple[str, Any]:
        """("ready", None), ("result", value), ("failure", reason) or ("error", exception)."""
        try:
            message = self.pipe.recv()
        except (EOFError, OSError):
            return self.fail("the decoder crashed")
        self.idle, self.position = True, None
        return message

    def fail(self, reason: str) -> tuple[str, str]:
        """Replace the process. Raises SystemExit if it never became ready."""
        if self.position is None:
            raise SystemExit("a process for decoding could not be started: is there memory left?")
        self.restart()
        return "failure", reason


@contextlib.contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """Ctrl-C waits until the block ends; processes started in it never receive it: their parent stops them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing import resource_tracker  # not on Windows

    resource_tracker.ensure_running()  # its start would unblock Ctrl-C
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _serve(pipe: Connection, memory_limit: int | None) -> None:
    """A worker's main function: run items until the parent closes the pipe or dies."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    threading.Thread(target=_exit_with, args=[multiprocessing.parent_process()], daemon=True).start()
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # not on Windows

        if memory_limit is not None:
            resource.setrlimit(resource.RLIMIT_AS, (memory_limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
    cv2.setNumThreads(1)
    message = pickle.dumps(("ready", None))
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.send_bytes(message)
            message = _run(pipe.recv_bytes())


def _exit_with(parent: Any) -> None:
    """End this worker when its parent dies, even if it is busy or hangs."""
    parent.join()
    os._exit(1)


def _run(request: bytes) -> bytes:
    """The pickled message that answers a pickled (function, item)."""
    try:
        function, item = pickle.loads(request)
        return pickle.dumps(("result", function(item)))
    except MemoryError:
        return pickle.dumps(("failure", "decoding it takes too much memory"))
    except (Exception, SystemExit) as error:
        error.add_note(traceback.format_exc())
        try:
            pickle.loads(message := pickle.dumps(("error", error)))
        except Exception:  # an exception that cannot be pickled, or not unpickled
            message = pickle.dumps(("error", RuntimeError(error.__notes__[-1])))
        return message

"""Work side by side in processes that are gone when it ends, however it ends."""

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

T = TypeVar("T")


@contextlib.contextmanager
def side_by_side(
    job: Callable[..., T], *items: Iterable, workers: int | None = None, initializer: Callable | None = None
) -> Iterator[Iterator[T]]:
    """An iterator over the results of `map(job, *items)`, from as many processes as there are cores, or `workers`.

    If the block fails, or is stopped by Ctrl-C, the processes are stopped too. `initializer` is called in each first.
    """
    context = multiprocessing.get_context("spawn")  # a fork would copy threads, OpenCV's too, in whatever state
    with ProcessPoolExecutor(workers, context, initializer) as pool:
        try:
            with without_ctrl_c():
                futures = [pool.submit(job, *one) for one in zip(*items, strict=True)]
            yield (future.result() for future in futures)  # pool.map would cancel the rest: errors
        except BaseException:
            for process in multiprocessing.active_children():
                process.terminate()
            raise


@contextlib.contextmanager
def without_ctrl_c() -> Iterator[None]:
    """A block in which Ctrl-C waits, and in which started processes never hear of it: who started them stops them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing import resource_tracker  # not on Windows

    resource_tracker.ensure_running()  # at its own start it would let Ctrl-C through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

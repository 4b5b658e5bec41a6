"""Threads in each of which torch computes on its share of the cores."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

_LOOK_EVERY = 0.1
"""Seconds after which a Ctrl-C is noticed that another thread passed on."""


def thread_pool(threads: int, cores: int) -> ThreadPoolExecutor:
    """Threads in each of which torch computes on so many cores; in this one, and those started later, on as many as in this one before.

    Parameters
    ----------
    threads, cores : int
    """
    before, started = torch.get_num_threads(), threading.Barrier(threads + 1)

    def start() -> None:
        torch.get_num_threads()  # without this, the thread's first operation would set the number anew
        torch.set_num_threads(cores)
        started.wait()

    pool = ThreadPoolExecutor(threads, initializer=start)
    try:
        for _ in range(threads):
            pool.submit(int)
        started.wait()
    except BaseException:
        started.abort()  # those that did start would wait for ever
        raise
    finally:
        torch.set_num_threads(before)
    return pool


def each_on_a_core(
    function: Callable[[Item], Result], items: Sequence[Item], device: torch.device, most: int | None = None
) -> list[Result]:
    """What a function makes of each item; on a CPU each on one core, and as many at once as torch has cores in this thread.

    So no sum is rounded otherwise where there are more items or more cores. And an operation that is shared between cores ends when the
    slowest has done its part, which is late where another program has a share of that core; operations on a core each do not wait for
    each other.

    Parameters
    ----------
    function : callable
        Called in other threads, which know nothing of the gradient or autocast mode of this one.
    items : sequence
    device : torch.device
        Where the function computes.
    most : int, optional
        So many items at once, if there are more cores: those whose memory there is.

    Returns
    -------
    list
    """
    cores = torch.get_num_threads() if device.type == "cpu" else 1
    if cores == 1 or not items:
        return [function(item) for item in items]
    with thread_pool(min(cores, len(items), most or cores), 1) as pool:
        begun = [pool.submit(function, item) for item in items]
        try:
            while wait(begun, _LOOK_EVERY).not_done:
                pass
        finally:
            for one in begun:
                one.cancel()
        return [one.result() for one in begun]

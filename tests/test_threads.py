import _thread
import signal
import threading
import time

import pytest
import torch

from openmm_confgf.threads import each_on_a_core, thread_pool

CPU = torch.device("cpu")


@pytest.fixture
def four_cores(torch_cores):
    torch_cores(4)


@pytest.mark.usefixtures("four_cores")
@pytest.mark.parametrize("items", [1, 3, 4, 9])
def test_each_item_has_a_core(items):
    together = threading.Barrier(min(items, 4), timeout=60)  # breaks if they are not worked on at once

    def look(item):
        if item < 4:
            together.wait()
        return item, torch.get_num_threads()

    threads = threading.active_count()
    assert each_on_a_core(look, range(items), CPU) == [(item, 1) for item in range(items)]
    assert torch.get_num_threads() == 4 and threading.active_count() == threads


@pytest.mark.usefixtures("four_cores")
def test_no_more_at_once_than_there_is_memory_for():
    lock, here, largest = threading.Lock(), 0, 0

    def work(_):
        nonlocal here, largest
        with lock:
            here += 1
            largest = max(largest, here)
        time.sleep(0.05)
        with lock:
            here -= 1

    each_on_a_core(work, range(8), CPU, most=2)
    assert largest == 2
    assert each_on_a_core(work, [], CPU) == []


@pytest.mark.usefixtures("four_cores")
def test_a_gpu_needs_no_thread():
    assert each_on_a_core(lambda _: threading.get_ident(), range(3), torch.device("cuda")) == [threading.get_ident()] * 3


@pytest.mark.usefixtures("four_cores")
def test_an_error_is_the_callers():
    with pytest.raises(ZeroDivisionError):
        each_on_a_core(lambda item: 1 / item, [1, 0], CPU)


@pytest.mark.usefixtures("four_cores")
def test_threads_within_a_thread_are_none():
    def inner(_):
        return each_on_a_core(lambda _: threading.get_ident(), range(2), CPU) == [threading.get_ident()] * 2

    assert each_on_a_core(inner, range(4), CPU) == [True] * 4


@pytest.fixture
def pythons_own_ctrl_c():
    """dask_jobqueue puts another one in its place wherever it is imported."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("four_cores", "pythons_own_ctrl_c")
def test_nothing_more_begins_after_ctrl_c():
    """Passed on by another thread, as the command line does, which wakes nobody who waits for a lock."""
    begun = []

    def work(item):
        begun.append(item)
        if item == 3:
            _thread.interrupt_main()
        time.sleep(1)

    with pytest.raises(KeyboardInterrupt):
        each_on_a_core(work, range(40), CPU)
    assert len(begun) == 4


@pytest.mark.usefixtures("four_cores")
def test_threads_that_cannot_be_started_leave_none_behind(monkeypatch):
    start, threads = threading.Thread.start, threading.active_count()

    def fails_at_the_third(thread):
        if threading.active_count() == threads + 2:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fails_at_the_third)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        thread_pool(4, 1)
    for _ in range(100):
        if threading.active_count() == threads:
            break
        time.sleep(0.1)
    assert threading.active_count() == threads and torch.get_num_threads() == 4

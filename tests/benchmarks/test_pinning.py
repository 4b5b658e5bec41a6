import os
import threading

import pytest

from openmm_confgf.benchmarks.pinning import can_pin, pinned

pytestmark = pytest.mark.skipif(not can_pin(), reason="this operating system does not let a thread choose its cores")


@pytest.fixture
def waiting():
    """The number of a thread that was there before, which waits."""
    ready, end, number = threading.Event(), threading.Event(), []

    def wait():
        number.append(threading.get_native_id())
        ready.set()
        end.wait()

    thread = threading.Thread(target=wait)
    thread.start()
    ready.wait()
    yield number[0]
    end.set()
    thread.join()


def test_threads_of_before_and_of_meanwhile_share_the_cores(waiting):
    allowed, found = os.sched_getaffinity(0), {}
    with pinned(1):
        chosen = os.sched_getaffinity(0)
        newcomer = threading.Thread(target=lambda: found.update(inside=os.sched_getaffinity(0)))
        newcomer.start()
        newcomer.join()
        assert len(chosen) == 1 and chosen <= allowed
        assert found["inside"] == os.sched_getaffinity(waiting) == chosen
    assert os.sched_getaffinity(0) == os.sched_getaffinity(waiting) == allowed


@pytest.mark.parametrize("cores", [None, 10_000])
def test_any_core_where_none_is_asked_for_or_there_are_too_few(cores):
    allowed = os.sched_getaffinity(0)
    with pinned(cores):
        assert os.sched_getaffinity(0) == allowed


def test_cores_come_back_after_an_error(waiting):
    allowed = os.sched_getaffinity(0)
    with pytest.raises(RuntimeError), pinned(1):
        raise RuntimeError
    assert os.sched_getaffinity(0) == os.sched_getaffinity(waiting) == allowed

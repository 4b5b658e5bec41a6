import threading

import pytest
import torch

from openmm_confgf.threads import side_by_side

CPU = torch.device("cpu")


@pytest.fixture
def four_cores():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("four_cores")
@pytest.mark.parametrize("items", [1, 3, 4, 9])
def test_each_item_has_a_core(items):
    together = threading.Barrier(min(items, 4), timeout=60)  # breaks if they are not worked on at once

    def look(item):
        if item < 4:
            together.wait()
        return item, torch.get_num_threads()

    assert side_by_side(look, range(items), CPU) == [(item, 1) for item in range(items)]
    assert torch.get_num_threads() == 4


@pytest.mark.usefixtures("four_cores")
def test_a_gpu_needs_no_thread():
    assert side_by_side(lambda _: threading.get_ident(), range(3), torch.device("cuda")) == [threading.get_ident()] * 3


@pytest.mark.usefixtures("four_cores")
def test_an_error_is_the_callers():
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda item: 1 / item, [1, 0], CPU)
    assert side_by_side(lambda item: 1 / item, [1, 2], CPU) == [1, 0.5]


@pytest.mark.usefixtures("four_cores")
def test_threads_within_a_thread_are_none():
    def inner(_):
        return side_by_side(lambda _: threading.get_ident(), range(2), CPU) == [threading.get_ident()] * 2

    assert side_by_side(inner, range(4), CPU) == [True] * 4

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
@pytest.mark.parametrize(("items", "cores"), [(2, 2), (4, 1), (9, 1)])
def test_each_thread_has_its_share_of_the_cores(items, cores):
    together = threading.Barrier(min(items, 4), timeout=60)  # breaks if they are not worked on at once

    def look(item):
        if item < 4:
            together.wait()
        return item, torch.get_num_threads()

    assert side_by_side(look, range(items), CPU) == [(item, cores) for item in range(items)]
    assert torch.get_num_threads() == 4


@pytest.mark.usefixtures("four_cores")
@pytest.mark.parametrize(("items", "device"), [(1, CPU), (3, torch.device("cuda")), (0, CPU)])
def test_one_item_or_a_gpu_needs_no_thread(items, device):
    assert side_by_side(lambda _: threading.get_ident(), range(items), device) == [threading.get_ident()] * items


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

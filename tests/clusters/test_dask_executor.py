"""What is particular to Dask; what every executor must do is in tests/test_executors.py."""

import contextlib
import functools
import os
import signal
import time
from pathlib import Path

import pytest

from openmm_confgf.errors import WorkerError

dask, distributed = map(pytest.importorskip, ("dask", "distributed"))

from openmm_confgf.clusters.dask_executor import DaskExecutor  # noqa: E402  # it imports Dask

MEMORY = 400_000_000


@pytest.fixture(scope="module")
def cluster():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
        options = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "memory_limit": MEMORY, "silence_logs": 50}
        with distributed.LocalCluster(n_workers=2, threads_per_worker=1, **options) as found:
            yield found


@pytest.fixture(scope="module")
def client(cluster):
    with distributed.Client(cluster, set_as_default=False) as found:
        yield found


@pytest.fixture
def run(client):
    """Outcomes by index."""

    def of(setup, items, workers=2, time_limit=60.0, **options):
        with contextlib.closing(DaskExecutor(setup, workers, client, **options)) as executor:
            outcomes = list(executor.run(items, time_limit))
        assert len(dict(outcomes)) == len(outcomes)
        return dict(outcomes)

    return of


def once(folder):
    """The setup of a worker whose items leave a file each time they are begun, and do as told by words."""

    def work(item):
        number, word = item
        path = Path(folder) / f"{number}-{time.monotonic_ns()}"
        path.touch()
        first = len(list(Path(folder).glob(f"{number}-*"))) == 1
        match word:
            case "die":
                os._exit(7)
            case "die once" if first:
                os._exit(7)
            case "hang once" if first:
                time.sleep(600)
            case "hoard":
                hoard = b"x" * (2 * MEMORY)
                time.sleep(600)
                return len(hoard)
            case "slow":
                time.sleep(0.3)
            case "device":
                time.sleep(0.5)
                return os.environ.get("CUDA_VISIBLE_DEVICES")
        return 2 * number

    return work


def begun(folder, number):
    return len(list(folder.glob(f"{number}-*")))


def test_a_death_costs_a_retry_and_then_one_item(run, tmp_path):
    words = ["", "die once", "die", "", "hang once"]
    found = run(functools.partial(once, str(tmp_path)), list(enumerate(words)), time_limit=3.0)
    assert [found[k] for k in (0, 1, 3, 4)] == [0, 2, 6, 8]
    assert type(found[2]) is WorkerError and str(found[2]) == "its worker process died (exit code 7)"
    assert [begun(tmp_path, k) for k in range(5)] == [1, 2, 2, 1, 2]


def test_an_item_that_takes_too_much_memory_costs_itself(run, tmp_path):
    found = run(functools.partial(once, str(tmp_path)), [(0, ""), (1, "hoard"), (2, "")], attempts=1)
    assert found[0] == 0 and found[2] == 4
    assert type(found[1]) is WorkerError and str(found[1]) == "it took more than the 4e+08 bytes of memory that a worker has"


@pytest.mark.parametrize("task_seconds", [0.0, 2.0])
def test_a_worker_that_is_killed_costs_nothing_but_time(run, client, tmp_path, task_seconds):
    def items():
        for number in range(20):
            if number == 8:
                os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
            yield number, "slow"

    found = run(functools.partial(once, str(tmp_path)), items(), task_seconds=task_seconds)
    assert found == {k: 2 * k for k in range(20)}


def test_each_worker_has_a_device_of_its_own(run, tmp_path):
    assert set(run(functools.partial(once, str(tmp_path)), [(k, "device") for k in range(4)]).values()) == {"4", "6"}


def where_it_is():
    return lambda _: os.getcwd()


def test_workers_work_where_the_program_does(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(where_it_is, [0]) == {0: str(tmp_path)}


def how_it_allocates():
    return lambda _: os.environ.get("MALLOC_TRIM_THRESHOLD_")


def test_memory_is_not_given_back_at_each_step(run):
    assert dask.config.get("distributed.nanny.pre-spawn-environ")["MALLOC_TRIM_THRESHOLD_"]
    assert run(how_it_allocates, [0]) == {0: None}


def sleeping():
    def work(item):
        time.sleep(len(item) / 20_000)
        return len(item)

    return work


def test_items_travel_together_by_their_size(run, client, monkeypatch):
    sent, submit = [], client.submit

    def recorded(function, plugin, run_of, items, *arguments, **keywords):
        sent.append([len(item) for item in items])
        return submit(function, plugin, run_of, items, *arguments, **keywords)

    monkeypatch.setattr(client, "submit", recorded)
    sizes = [1000] * 60 + [20_000] * 3
    assert list(run(sleeping, ["x" * size for size in sizes], task_seconds=0.5).values()).count(1000) == 60
    assert sum(map(len, sent)) == 63 and {len(task) for task in sent[:4]} == {1}
    # 0.05 s each, so that some ten make half a second; a second by itself is a task by itself
    assert max(map(len, sent)) in range(6, 12)
    assert all(len(task) <= 2 for task in sent if sum(task) > 30_000)


def test_a_scheduler_without_workers_is_given_up():
    options = {"n_workers": 0, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(**options) as empty, distributed.Client(empty, set_as_default=False) as client:
        with contextlib.closing(DaskExecutor(sleeping, 1, client, patience=1.0)) as executor, pytest.raises(WorkerError, match="no worker"):
            list(executor.run(["x"]))


def test_a_scheduler_that_goes_ends_the_run():
    options = {"n_workers": 1, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
    with distributed.LocalCluster(**options) as gone, distributed.Client(gone, set_as_default=False) as client:
        executor = DaskExecutor(sleeping, 1, client, task_seconds=1.0)
        outcomes = executor.run("x" * 2000 for _ in range(1000))
        assert next(outcomes) == (0, 2000)
        gone.close()
        start = time.monotonic()
        with pytest.raises(WorkerError, match="was lost|let go"):
            list(outcomes)
        executor.close()
        assert time.monotonic() - start < 60


def unloadable():
    raise AssertionError("it is not called")


class Strange:
    """Something that workers cannot load."""

    def __reduce__(self):
        return int, ("no number",)


def test_what_workers_cannot_load_is_the_outcome_of_each_item(run):
    found = run(functools.partial(unloadable, Strange()), ["x", "y"])
    assert len(found) == 2 and all("no number" in str(error) for error in found.values())

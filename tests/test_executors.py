"""First what every Executor must do, for each implementation; then what is particular to processes, and `work_through`."""

import contextlib
import functools
import itertools
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import uuid

import pytest

from openmm_confgf.errors import ConfGFError, ForceFieldError, GenerationError, WorkerError
from openmm_confgf.executors import Executor, ProcessExecutor, work_through

HANGS = 600


@pytest.fixture(scope="module")
def dask_client():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(params=["processes", "dask"])
def start(request):
    """Makes executors of an implementation, which are closed in the end."""
    implementation = ProcessExecutor
    if request.param == "dask":
        client = request.getfixturevalue("dask_client")
        from openmm_confgf.clusters.dask_executor import DaskExecutor

        # what fails is tried again in tests/clusters
        implementation = functools.partial(DaskExecutor, client=client, attempts=1)
    with contextlib.ExitStack() as stack:

        def started(setup, workers):
            executor = implementation(setup, workers)
            assert isinstance(executor, Executor)
            return stack.enter_context(contextlib.closing(executor))

        yield started


class Unsendable:
    def __reduce__(self):
        raise pickle.PicklingError("it stays here")


def doubling():
    """The setup of a worker that doubles numbers and does as told by words."""
    name = uuid.uuid4().hex

    def work(item):
        if isinstance(item, tuple):
            _beat(*item)
        match item:
            case "die":
                os._exit(7)
            case "hang":
                time.sleep(HANGS)
            case "refuse":
                raise ForceFieldError("untyped")
            case "bug":
                raise ZeroDivisionError("by\nzero")
            case "hoard":
                raise MemoryError
            case "unsendable":
                return Unsendable()
            case "name":
                return name
            case "fork and die":
                if os.fork() == 0:
                    time.sleep(HANGS)
                os._exit(8)
            case "pid":
                return os.getpid()
            case "threads":
                return os.environ["OMP_NUM_THREADS"]
        return 2 * item

    return work


def _beat(path, start):
    """Write to a file for as long as this is alive."""
    for _ in range(HANGS * 20):
        with open(path, "a") as stream:
            stream.write(start)
        time.sleep(0.05)


def refusing_setup():
    raise ForceFieldError("no such level")


def buggy_setup():
    raise KeyError("level")


def dying_setup():
    os._exit(9)


def hanging_setup():
    time.sleep(HANGS)


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


def is_still(path):
    """Whether nobody writes to the file any more."""
    before = path.stat().st_size
    time.sleep(0.5)
    return path.stat().st_size == before


# what every implementation must do


def test_each_item_comes_out_once_with_its_index(start):
    executor = start(doubling, 2)
    outcomes = list(executor.run(range(7)))
    assert sorted(outcomes) == [(k, 2 * k) for k in range(7)] and executor.workers == 2
    assert list(executor.run([])) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_and_deaths_cost_one_item(start, workers):
    found = dict(start(doubling, workers).run([1, "die", 2, "refuse", "bug", "unsendable", "hoard", 3]))
    assert len(found) == 8 and [found[k] for k in (0, 2, 7)] == [2, 4, 6]
    assert type(found[1]) is WorkerError and "died" in str(found[1])
    assert type(found[3]) is ForceFieldError and str(found[3]) == "untyped"
    assert type(found[4]) is GenerationError and str(found[4]) == "ZeroDivisionError: by zero"
    assert isinstance(found[5], ConfGFError)
    assert type(found[6]) is WorkerError and "memory" in str(found[6])


def test_an_item_that_hangs_costs_itself(start):
    found = dict(start(doubling, 2).run(["hang", 1, 2, "hang", 3], 10.0))
    assert [found[k] for k in (1, 2, 4)] == [2, 4, 6]
    assert all(type(found[k]) is WorkerError and str(found[k]) == "it took more than 10 s" for k in (0, 3))


@pytest.mark.parametrize(
    ("setup", "time_limit", "kind", "words"),
    [
        (refusing_setup, 60.0, ForceFieldError, "no such level"),
        (buggy_setup, 60.0, GenerationError, "KeyError: 'level'"),
        (dying_setup, 60.0, WorkerError, "died"),
        (hanging_setup, 2.0, WorkerError, "it took more than 2 s"),
    ],
)
def test_a_setup_that_fails_is_the_outcome_of_each_item(start, setup, time_limit, kind, words):
    found = dict(start(setup, 1).run([1, 2], time_limit))
    assert sorted(found) == [0, 1] and all(type(error) is kind and words in str(error) for error in found.values())


def test_items_are_asked_for_when_a_worker_is_free(start):
    asked = []
    items = (asked.append(number) or number for number in itertools.count())
    with contextlib.closing(start(doubling, 2).run(items)) as outcomes:
        assert asked == []
        for count, (index, outcome) in enumerate(itertools.islice(outcomes, 6), start=1):
            assert outcome == 2 * index and len(asked) < count + 2


def test_time_that_the_results_take_elsewhere_does_not_count(start):
    executor = start(doubling, 2)
    found = dict(executor.run([0, 0]))  # whose start may take longer
    for index, outcome in executor.run([1, 2, 3], 1.0):
        found[index] = outcome
        time.sleep(1.5 if outcome == 2 else 0)
    assert found == {0: 2, 1: 4, 2: 6}


def test_closing_a_run_ends_what_is_worked_on(start, tmp_path):
    executor = start(doubling, 2)
    with contextlib.closing(executor.run([1, (str(tmp_path / "beats"), "x"), "hang"])) as outcomes:
        assert next(outcomes) == (0, 2)
        wait_for((tmp_path / "beats").exists)
    assert is_still(tmp_path / "beats")
    assert dict(executor.run([10, 20, 30])) == {0: 20, 1: 40, 2: 60}


def test_an_error_of_the_items_is_raised_and_ends_what_is_worked_on(start, tmp_path):
    def items():
        yield from (1, (str(tmp_path / "beats"), "x"))
        wait_for((tmp_path / "beats").exists)
        raise OSError("the disk is gone")

    executor = start(doubling, 2)
    with pytest.raises(OSError, match="the disk is gone"):
        list(executor.run(items()))
    assert is_still(tmp_path / "beats")
    assert dict(executor.run([10])) == {0: 20}


def test_ctrl_c_ends_what_is_worked_on(start, tmp_path, monkeypatch):
    beats = tmp_path / "beats"

    def press():
        wait_for(beats.exists)
        signal.pthread_kill(main, signal.SIGINT)

    main, executor = threading.get_ident(), start(doubling, 2)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts its background jobs with Ctrl-C ignored
    try:
        pressing = threading.Thread(target=press)
        pressing.start()
        with pytest.raises(KeyboardInterrupt):
            list(executor.run([(str(beats), "x"), "hang"]))
    finally:
        signal.signal(signal.SIGINT, before)
        pressing.join()
    assert is_still(beats)
    assert dict(executor.run([10])) == {0: 20}


def test_workers_stay_set_up_until_they_are_closed(start):
    executor = start(doubling, 2)
    first = set(dict(executor.run(["name"] * 8)).values())
    assert 1 <= len(first) <= 2 and len(set(dict(executor.run(["name"] * 8)).values()) | first) <= 2
    executor.close()
    executor.close()
    assert not set(dict(executor.run(["name"] * 4)).values()) & first


@pytest.mark.parametrize(("workers", "time_limit"), [(0, 1.0), (-1, 1.0), (1, 0.0), (1, -1.0), (1, float("nan"))])
def test_bad_calls_are_refused_by_the_call(start, workers, time_limit):
    with pytest.raises(ConfGFError, match="at least 1|positive"):
        start(doubling, workers).run([1], time_limit)


# processes of this machine


def test_a_process_that_dies_is_replaced_and_the_others_stay():
    with contextlib.closing(ProcessExecutor(doubling, 2)) as executor:
        first = dict(executor.run(["pid"] * 2))
        assert len(set(first.values())) == 2 and set(dict(executor.run(["pid"] * 20)).values()) <= set(first.values())
        (died,) = [outcome for _, outcome in executor.run(["die", 1]) if isinstance(outcome, ConfGFError)]
        assert str(died) == "its worker process died (exit code 7)"
        later = set(dict(executor.run(["pid"] * 2)).values())
        assert len(later) == 2 and len(later & set(first.values())) == 1
    assert not any(is_running(pid) for pid in later | set(first.values()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_death_is_noticed_though_a_fork_holds_the_pipe():
    with contextlib.closing(ProcessExecutor(doubling, 1)) as executor:
        assert "died (exit code 8)" in str(dict(executor.run(["fork and die"]))[0])


def test_workers_have_one_thread_and_the_environment_stays(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    assert dict(work_through(doubling, ["threads"], 1)) == {0: "1"}
    assert os.environ["OMP_NUM_THREADS"] == "5" and "MKL_NUM_THREADS" not in os.environ


def test_workers_are_told_what_others_are_not():
    with contextlib.closing(ProcessExecutor(doubling, 1, {"OMP_NUM_THREADS": "3"})) as executor:
        assert executor.pids == [] and dict(executor.run(["threads"])) == {0: "3"}
        assert executor.pids == [dict(executor.run(["pid"]))[0]]
    assert executor.pids == []


def test_another_thread_can_kill_what_works():
    with contextlib.closing(ProcessExecutor(doubling, 1)) as executor:
        assert dict(executor.run([1])) == {0: 2}
        executor.kill()  # nothing works
        killing = threading.Timer(0.5, executor.kill)
        killing.start()
        found = dict(executor.run(["hang", 3], 60.0))
    assert found[1] == 6 and "died (exit code -9)" in str(found[0])


def pid_then_program(folder):
    def work(item):
        child = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({HANGS})"])
        with open(f"{folder}/pids", "w") as stream:
            stream.write(f"{os.getpid()} {child.pid}")
        if item == "leave":
            return item
        time.sleep(HANGS)

    return work


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="no process groups here")
def test_leaving_early_ends_the_workers_and_their_programs(tmp_path):
    stream = work_through(functools.partial(pid_then_program, str(tmp_path)), ["leave", "stay"], 1, 60.0)
    assert next(stream) == (0, "leave")
    stream.close()
    worker, program = (int(pid) for pid in (tmp_path / "pids").read_text().split())
    assert not is_running(worker)
    deadline = time.monotonic() + 10
    while is_running(program) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(program)


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # a program that was killed stays as a zombie until init, or whoever stands for it, has looked
    status = f"/proc/{pid}/stat"
    return not os.path.exists(status) or open(status).read().rpartition(")")[2].split()[0] != "Z"


# an executor for one iteration


@pytest.mark.parametrize("workers", [2, functools.partial(ProcessExecutor, workers=2)])
def test_one_iteration_ends_with_its_workers_and_says_what_to_do(workers):
    found = dict(work_through(doubling, ["pid", "die", 3, "refuse"], workers, 60.0))
    assert str(found[1]).endswith("died (exit code 7); try it by itself, give it more time or memory, or leave it out.")
    assert found[2] == 6 and str(found[3]) == "untyped" and not is_running(found[0])


def test_an_executor_that_was_handed_in_does_the_work_and_is_closed():
    made = []

    class Watched(ProcessExecutor):
        def __init__(self, setup, workers):
            super().__init__(setup, workers)
            made.append(self)

        def close(self):
            super().close()
            made.append("closed")

    stream = work_through(doubling, itertools.count(), functools.partial(Watched, workers=1))
    assert next(stream) == (0, 0)
    stream.close()
    assert len(made) == 2 and made[0].setup is doubling and made[1] == "closed"


@pytest.mark.parametrize(("workers", "time_limit"), [(0, 1.0), (1, 0.0), (functools.partial(ProcessExecutor, workers=0), 1.0)])
def test_bad_iterations_are_refused_by_the_call(workers, time_limit):
    with pytest.raises(ConfGFError, match="at least 1|positive"):
        work_through(doubling, [1], workers, time_limit)

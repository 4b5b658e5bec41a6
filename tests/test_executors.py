import contextlib
import functools
import os
import subprocess
import sys
import time

import pytest

from openmm_confgf.errors import ConfGFError, ForceFieldError, GenerationError, WorkerError
from openmm_confgf.executors import Processes, in_processes


def doubling():
    """The setup of a worker that doubles numbers and does as told by words."""

    def work(item):
        if item == "die":
            os._exit(7)
        if item == "hang":
            time.sleep(600)
        if item == "refuse":
            raise ForceFieldError("untyped")
        if item == "bug":
            raise ZeroDivisionError("by\nzero")
        if item == "fork and die":
            if os.fork() == 0:
                time.sleep(600)
            os._exit(8)
        if item == "pid":
            return os.getpid()
        if item == "threads":
            return os.environ["OMP_NUM_THREADS"]
        return 2 * item

    return work


def failing_setup():
    raise ForceFieldError("no such level")


def run(items, workers=1, time_limit=60.0, setup=doubling):
    return dict(in_processes(setup, items, workers, time_limit))


def test_each_item_comes_out_once_with_its_index():
    assert run(range(5), workers=2) == {k: 2 * k for k in range(5)}


def test_errors_and_deaths_cost_one_item():
    found = run([1, "die", 2, "refuse", "bug", 3])
    assert [found[k] for k in (0, 2, 5)] == [2, 4, 6]
    assert isinstance(found[1], WorkerError) and "died (exit code 7)" in str(found[1])
    assert type(found[3]) is ForceFieldError and str(found[3]) == "untyped"
    assert isinstance(found[4], GenerationError) and str(found[4]) == "ZeroDivisionError: by zero"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_death_is_noticed_though_a_fork_holds_the_pipe():
    assert "died (exit code 8)" in str(run(["fork and die"])[0])


def test_processes_stay_between_runs_and_end_with_close():
    processes = Processes(doubling, 2)
    first = dict(processes.run(["pid"] * 2))
    assert len(set(first.values())) == 2 and set(dict(processes.run(["pid"] * 20)).values()) <= set(first.values())
    (died,) = [outcome for _, outcome in processes.run(["die", 1]) if isinstance(outcome, ConfGFError)]
    assert type(died) is WorkerError and "exit code 7" in str(died)
    later = set(dict(processes.run(["pid"] * 2)).values())
    assert len(later) == 2 and len(later & set(first.values())) == 1
    processes.close()
    processes.close()
    assert not any(is_running(pid) for pid in later | set(first.values()))


def test_answers_of_a_run_that_was_left_are_not_those_of_the_next():
    with contextlib.closing(Processes(doubling, 2)) as processes:
        with contextlib.closing(processes.run([1, "hang", 2])) as outcomes:
            assert next(outcomes) == (0, 2)
        assert dict(processes.run([10, 20, 30])) == {0: 20, 1: 40, 2: 60}


def test_a_worker_that_hangs_is_ended():
    found = run(["hang", 4], time_limit=10.0)
    assert isinstance(found[0], WorkerError) and "more than 10 s" in str(found[0]) and found[1] == 8


def test_time_that_the_results_take_elsewhere_does_not_count():
    with contextlib.closing(Processes(doubling, 2)) as processes:
        found = dict(processes.run([0, 0]))  # whose start may take longer
        for index, outcome in processes.run([1, 2, 3], 1.0):
            found[index] = outcome
            time.sleep(1.5 if outcome == 2 else 0)
    assert found == {0: 2, 1: 4, 2: 6}


def test_a_setup_that_fails_is_the_result_of_each_item():
    found = run([1, 2], setup=failing_setup)
    assert {str(error) for error in found.values()} == {"no such level"} and len(found) == 2


def test_workers_have_one_thread_and_the_environment_stays(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    assert run(["threads"]) == {0: "1"}
    assert os.environ["OMP_NUM_THREADS"] == "5" and "MKL_NUM_THREADS" not in os.environ


def pid_then_program(folder):
    def work(item):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        with open(f"{folder}/pids", "w") as stream:
            stream.write(f"{os.getpid()} {child.pid}")
        if item == "leave":
            return item
        time.sleep(600)

    return work


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="no process groups here")
def test_leaving_early_ends_the_workers_and_their_programs(tmp_path):
    stream = in_processes(functools.partial(pid_then_program, str(tmp_path)), ["leave", "stay"], 1, 60.0)
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


@pytest.mark.parametrize(("workers", "time_limit"), [(0, 1.0), (1, 0.0), (1, float("nan"))])
def test_bad_calls(workers, time_limit):
    with pytest.raises(ConfGFError, match="at least 1|positive"):
        in_processes(doubling, [1], workers, time_limit)

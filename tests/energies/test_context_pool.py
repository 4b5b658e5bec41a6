import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import openmm
import pytest

from openmm_confgf.energies import ContextEnergy, ContextPool
from openmm_confgf.errors import ConfGFError, PlatformError, WorkerError
from openmm_confgf.status import Status
from tests.test_executors import is_running

SLOW, RAISES = 100.0, 200.0


def python_energy(state):
    """x of the only particle in kJ/mol, with a force along x; from SLOW on it takes a minute, from RAISES on it raises."""
    x = state.getPositions(asNumpy=True)._value[0, 0]
    if x >= RAISES:
        raise ValueError("out of range")
    if x >= SLOW:
        time.sleep(60)
    return float(x), np.array([[-1.0, 0, 0]])


def python_system(function=python_energy):
    system = openmm.System()
    system.addParticle(1.0)
    system.addForce(openmm.PythonForce(function))
    return system


def along_x(*values):
    return np.array([[[x, 0.0, 0.0]] for x in values])


@pytest.fixture(scope="module")
def chain():
    """Five charged particles in a chain of springs, and 23 conformations of it."""
    system, bonds, pairs = openmm.System(), openmm.HarmonicBondForce(), openmm.NonbondedForce()
    for i in range(5):
        system.addParticle(12.0)
        pairs.addParticle((-1) ** i / 3, 0.3, 0.7)
    for i in range(4):
        bonds.addBond(i, i + 1, 0.15, 1e5 / 3)
        pairs.addException(i, i + 1, 0, 1, 0)
    system.addForce(bonds)
    system.addForce(pairs)
    steps = np.random.default_rng(1).normal([0.15, 0, 0], 0.1, (23, 5, 3))
    return system, steps.cumsum(axis=1)


@pytest.fixture(scope="module")
def with_workers(chain):
    """The chain's energy in this process (0), and in 1, 2 and 3 others."""
    several = {0: ContextEnergy(chain[0], "CPU")} | {workers: ContextPool(chain[0], "CPU", workers=workers) for workers in (1, 2, 3)}
    yield several
    for energy in several.values():
        energy.close()


@pytest.fixture
def started():
    """Gives the pids of the processes that the test started; at its end none may run, whatever the test was about."""
    before = set(multiprocessing.active_children())
    pids = []

    def look():
        pids.extend(process.pid for process in set(multiprocessing.active_children()) - before)
        return pids

    yield look
    assert not any(map(is_running, pids)) and set(multiprocessing.active_children()) <= before


def assert_same(one, other):
    np.testing.assert_array_equal(one.energy, other.energy)
    np.testing.assert_array_equal(one.status, other.status)
    assert (one.forces is None) == (other.forces is None)
    if one.forces is not None:
        np.testing.assert_array_equal(one.forces, other.forces)


@pytest.mark.parametrize("forces", [False, True])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_number_of_workers_changes_nothing(chain, with_workers, workers, forces):
    bad = chain[1].copy()
    for place, shift in itertools.product((0, 11, 20), range(3)):
        bad[place + shift, 2, 1] = (np.nan, np.inf, bad[place + shift, 4, 1])[shift]
        if shift == 2:
            bad[place + shift, 2] = bad[place + shift, 4]  # coincident
    one, several = (with_workers[n].evaluate(bad, forces) for n in (0, workers))
    assert_same(one, several)
    assert one.ok.tolist() == [i not in (0, 1, 2, 11, 12, 13, 20, 21, 22) for i in range(23)]
    assert several.energy.dtype == np.float64 and several.status.dtype == np.int8


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5])
def test_small_batches(chain, with_workers, size):
    frames = chain[1][:size]
    for forces in (False, True):
        assert_same(with_workers[0].evaluate(frames, forces), with_workers[3].evaluate(frames, forces))
    assert with_workers[3].evaluate(frames, True).forces.shape == (size, 5, 3)


def test_one_frame_and_an_empty_list(chain, with_workers):
    assert_same(with_workers[0].evaluate(chain[1][4]), with_workers[2].evaluate(chain[1][4]))
    assert with_workers[2].evaluate([], forces=True).forces.shape == (0, 5, 3)


def test_permuting_samples_permutes_the_results(chain, with_workers):
    order = np.random.default_rng(2).permutation(23)
    given, permuted = (with_workers[3].evaluate(frames, forces=True) for frames in (chain[1], chain[1][order]))
    np.testing.assert_array_equal(permuted.energy, given.energy[order])
    np.testing.assert_array_equal(permuted.forces, given.forces[order])
    assert len(set(given.energy)) == 23


def test_batches_that_print_alike_have_their_own_energies(chain, with_workers):
    first = np.tile(chain[1], (10, 1, 1))
    second = first.copy()
    second[100:130] += 0.01 * np.random.default_rng(3).normal(size=(30, 5, 3))
    assert str(first) == str(second)
    energies = [with_workers[2].evaluate(batch).energy for batch in (first, second)]
    np.testing.assert_array_equal(energies[1], with_workers[0].evaluate(second).energy)
    assert (energies[0] != energies[1]).tolist() == [100 <= i < 130 for i in range(230)]


def test_a_wrong_shape_closes_nothing(chain, with_workers):
    with pytest.raises(ValueError, match="4 atoms.*5 particles"):
        with_workers[2].evaluate(chain[1][:, :4])
    assert with_workers[2].evaluate(chain[1]).ok.all()


def test_python_forces_and_their_errors_and_closing(started):
    with ContextPool(python_system(), "Reference", workers=2) as energy:
        result = energy.evaluate(along_x(1, RAISES, 3, RAISES, 5), forces=True)
        assert len(started()) == 2
    assert result.status.tolist() == [Status.OK, Status.FAILED, Status.OK, Status.FAILED, Status.OK]
    assert result.energy.tolist() == [1, np.inf, 3, np.inf, 5] and result.forces[4].tolist() == [[-1, 0, 0]]
    energy.close()
    with pytest.raises(ValueError, match="ContextPool is closed; create a new one"):
        energy.evaluate(along_x(1))


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL here")
@pytest.mark.parametrize("in_mid_batch", [True, False])
def test_a_worker_that_is_killed(started, in_mid_batch):
    energy = ContextPool(python_system(), "Reference", workers=2)
    victim = started()[0]
    begin = time.monotonic()
    if in_mid_batch:
        killer = threading.Timer(0.5, os.kill, (victim, signal.SIGKILL))
        killer.start()
        batch = along_x(*[SLOW] * 9)
    else:
        os.kill(victim, signal.SIGKILL)
        batch = along_x(1)  # which one worker would be enough for
    with pytest.raises(
        WorkerError,
        match=r"^The evaluation of \d conformations.* died \(exit code -9\); create a new ContextPool.*\.$",
    ):
        energy.evaluate(batch)
    assert time.monotonic() - begin < 10
    with pytest.raises(ValueError, match="closed"):
        energy.evaluate(along_x(1))
    energy.close()


SCRIPT = """
import multiprocessing
import openmm
from openmm_confgf.energies import ContextPool
from tests.energies.test_context_pool import SLOW, along_x, python_system

if __name__ == "__main__":
    energy = ContextPool(python_system(), "Reference", workers=2)
    print(*(process.pid for process in multiprocessing.active_children()), flush=True)
    energy.evaluate(along_x(*[SLOW] * 9))
"""


def start_script(tmp_path, text):
    (tmp_path / "script.py").write_text(text)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(["", *sys.path])}
    return subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell starts its background jobs with Ctrl-C ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@pytest.mark.skipif(sys.platform == "win32", reason="no signals here")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_parent_that_is_stopped_leaves_no_workers(tmp_path, number):
    script = start_script(tmp_path, SCRIPT)
    pids = [int(word) for word in script.stdout.readline().split()]
    time.sleep(0.3)
    assert len(pids) == 2 and all(map(is_running, pids))
    script.send_signal(number)
    _, err = script.communicate(timeout=10)
    assert ("KeyboardInterrupt" in err) == (number == signal.SIGINT)
    deadline = time.monotonic() + 10
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, pids))


UNGUARDED = """
import openmm
from openmm_confgf.energies import ContextPool

system = openmm.System()
for _ in range(20000):
    system.addParticle(1.0)
ContextPool(system, "Reference", workers=2)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no signals here")
def test_a_script_without_its_guard_is_told_so(tmp_path):
    """The processes die before they have read their System, which is larger than what a pipe holds."""
    _, err = start_script(tmp_path, UNGUARDED).communicate(timeout=60)
    assert "WorkerError: The start of a Context failed: its worker process died (exit code 1); " in err and '__name__ == "__main__"' in err


def test_calls_that_cannot_work_raise_at_once(started, chain):
    with pytest.raises(PlatformError, match="cannot take this System"):
        ContextPool(openmm.System(), "CPU", workers=2)
    with pytest.raises(PlatformError, match="no OpenMM platform"):
        ContextPool(chain[0], "Quantum", workers=2)
    with pytest.raises(ConfGFError, match="cannot be sent to worker processes.*could not be pickled.*take ContextEnergy"):
        ContextPool(python_system(lambda state: (0.0, np.zeros((1, 3)))), "Reference", workers=2)
    for workers in (0, -1):
        with pytest.raises(ConfGFError, match="at least 1"):
            ContextPool(chain[0], "CPU", workers=workers)
    assert started() == []

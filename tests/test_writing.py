"""The one writer, and that every format goes through it: a full disk leaves the earlier file, one sentence and nothing else."""

import ast
import errno
import fcntl
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

import openmm_confgf
from openmm_confgf.errors import FileFormatError
from openmm_confgf.files import write_ensembles, write_run
from openmm_confgf.files.archive import ReferenceMolecule, save_archive
from openmm_confgf.plots.ensemble import save_figure
from openmm_confgf.writing import clear_leftovers, only_writer, whole_file, write_whole

PACKAGE = Path(openmm_confgf.__file__).parent


@pytest.fixture
def full_disk():
    """Every file of this process ends after 2,000 bytes, as on a disk that is full then: the system refuses, whoever writes."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_block_that_ends_well_replaces_the_file(tmp_path):
    path = tmp_path / "new" / "a.txt"
    assert write_whole(path, "é") == path and path.read_bytes() == "é".encode()
    write_whole(path, b"second")
    assert path.read_bytes() == b"second" and os.listdir(path.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError, FileFormatError])
def test_a_block_that_fails_changes_nothing(tmp_path, error):
    write_whole(tmp_path / "a.txt", "first")
    with pytest.raises(error), whole_file(tmp_path / "a.txt") as stream:
        stream.write(b"half of the sec")
        raise error
    assert (tmp_path / "a.txt").read_text() == "first" and os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_that_is_a_file_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileFormatError, match=r"file/a.txt cannot be written: .*; make room, or choose another folder\.$"):
        write_whole(tmp_path / "file" / "a.txt", "text")


HOLDER = "import sys; from openmm_confgf.writing import only_writer\nwith only_writer(sys.argv[1]): print(flush=True); sys.stdin.read()"


@pytest.fixture
def holder(tmp_path):
    """Another process that writes ``a.h5``."""
    command = [sys.executable, "-c", HOLDER, tmp_path / "a.h5"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=PACKAGE.parent)
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_refused_until_the_first_has_ended(tmp_path, holder):
    refused = rf"a.h5 is being written by process {holder.pid} on .+; wait until it has ended, or give another output\.$"
    with pytest.raises(FileFormatError, match=refused), only_writer(tmp_path / "a.h5"):
        pass
    with only_writer(tmp_path / "b.h5"):
        assert len(os.listdir(tmp_path)) == 2
    holder.communicate(b"")
    assert os.listdir(tmp_path) == []
    with only_writer(tmp_path / "a.h5"), pytest.raises(FileFormatError, match=f"process {os.getpid()}"), only_writer(tmp_path / "a.h5"):
        pass


def test_the_lock_of_a_process_that_was_killed_is_taken_over(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert os.listdir(tmp_path) == [".a.h5.lock"]
    with only_writer(tmp_path / "a.h5"):
        pass
    assert os.listdir(tmp_path) == []


def test_a_lock_that_was_taken_away_meanwhile_is_no_lock(tmp_path, monkeypatch):
    """Two that wait for one: the second must not hold a file that the first has removed."""
    flock, taken = fcntl.flock, []

    def slow(held, how):
        flock(held, how)
        if not taken:
            taken.append(True)
            (tmp_path / ".a.h5.lock").unlink()

    monkeypatch.setattr(fcntl, "flock", slow)
    with only_writer(tmp_path / "a.h5"):
        assert os.listdir(tmp_path) == [".a.h5.lock"]
        with pytest.raises(FileFormatError, match="is being written"), only_writer(tmp_path / "a.h5"):
            pass


def test_a_disk_without_locks_or_room_is_written_all_the_same(tmp_path, monkeypatch, full_disk):
    def none(held, how):
        raise OSError(errno.ENOLCK, "No locks available")

    with only_writer(tmp_path / "a.h5"):
        pass
    monkeypatch.setattr(fcntl, "flock", none)
    with only_writer(tmp_path / "a.h5"), only_writer(tmp_path / "a.h5"):
        pass


def test_what_the_dead_left_goes_and_what_the_living_write_stays(tmp_path):
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    names = [f".a[1].sdf-{done.pid}.partial", f".a[1].sdf-{os.getpid()}.partial", f".b.sdf-{done.pid}.partial", ".a[1].sdf-x.partial"]
    for name in names:
        (tmp_path / name).touch()
    clear_leftovers(tmp_path / "a[1].sdf")
    assert sorted(os.listdir(tmp_path)) == sorted(names[1:])
    clear_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([names[1], names[3]])


def writers(ensemble):
    """What the package writes, by name."""
    noise = np.random.default_rng(0).standard_normal((3000, 3))
    molecule = ReferenceMolecule(
        "alanine", ensemble.graph, noise[: 200 * len(ensemble.graph)].reshape(-1, len(ensemble.graph), 3), noise[:200, 0]
    )
    many = ensemble.select(np.arange(8).repeat(20))
    return {
        ".sdf": lambda path: write_ensembles([many], path),
        ".pdb": lambda path: write_ensembles([many], path),
        ".h5": lambda path: write_ensembles([many], path),
        "run.h5": lambda path: write_run(ensemble, {"noise": noise}, path),
        ".npz": lambda path: save_archive(path, [molecule]),
        ".png": lambda path: save_figure(Figure(), path),
        ".txt": lambda path: write_whole(path, noise.tobytes()),
    }


NAMES = [".sdf", ".pdb", ".h5", "run.h5", ".npz", ".png", ".txt"]


@pytest.mark.parametrize("name", NAMES)
def test_a_write_that_the_system_refuses_leaves_the_earlier_file(alanine_ensemble, tmp_path, full_disk, name):
    path = tmp_path / f"a{name}"
    path.write_text("earlier")
    with pytest.raises(FileFormatError) as refused:
        writers(alanine_ensemble)[name](path)
    assert re.fullmatch(
        rf"{path} cannot be written: File too large, and the earlier file is as it was; make room, .*\.", str(refused.value)
    )
    assert path.read_text() == "earlier" and os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("name", [name for name in NAMES if name != ".png"])
def test_a_full_disk_leaves_the_earlier_file(alanine_ensemble, tiny_disk, name):
    path = tiny_disk / f"a{name}"
    path.write_bytes(os.urandom(50_000))
    earlier = path.read_bytes()
    with pytest.raises(FileFormatError, match="No space left on device, and the earlier file is as it was; make room"):
        writers(alanine_ensemble)[name](path)
    assert path.read_bytes() == earlier and os.listdir(tiny_disk) == [path.name]


# where a file is opened to write by other means, and why that is right
ELSEWHERE = {
    "writing.py": "it is the writer",
    "energies/xtb/minimize.py": "the input of the xtb program, in a folder that goes with it",
    "files/source.py": "what a .gz file holds, in a folder that goes with it",
    "files/hdf5.py": "in memory",
    "cli/output.py": "the real stdout, by its descriptor",
}


def test_no_file_is_written_by_other_means():
    """`open` for writing, and the writers of libraries that are given a path."""
    found = set()
    for source in PACKAGE.rglob("*.py"):
        for call in (node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Call)):
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            texts = [argument.value for argument in call.args if isinstance(argument, ast.Constant) and isinstance(argument.value, str)]
            if name == "open" and any(re.fullmatch("[rwax]b?[+]?", text) and set(text) & set("wax+") for text in texts):
                found.add(str(source.relative_to(PACKAGE)))
            elif name in ("write_text", "write_bytes", "SDWriter") or (name == "File" and {"w", "a"} & set(texts)):
                found.add(str(source.relative_to(PACKAGE)))
    assert found == set(ELSEWHERE)

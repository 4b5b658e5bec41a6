import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from openmm_confgf.clusters import opening
from openmm_confgf.clusters.opening import open_cluster
from openmm_confgf.errors import ConfGFError, WorkerError
from openmm_confgf.executors import work_through

ROOT = Path(__file__).resolve().parents[2]


def doubling():
    def work(item):
        time.sleep(0.05)
        return 2 * item

    return work


@pytest.fixture
def scheduler():
    """A scheduler in a process of its own, and a worker of two threads, as a lab would start them: address and processes."""
    pytest.importorskip("distributed")
    serve = """
import asyncio, distributed
async def main():
    async with distributed.Scheduler(host="127.0.0.1", port=0, dashboard_address="127.0.0.1:0") as s:
        print(s.address, flush=True)
        async with distributed.Nanny(s.address, nthreads=2):
            await s.finished()
if __name__ == "__main__":
    asyncio.run(main())
"""
    process = subprocess.Popen([sys.executable, "-c", serve], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT)
    try:
        yield process.stdout.readline().strip(), process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_scheduler_that_runs_is_used_and_left(scheduler):
    address, process = scheduler
    for _ in range(2):
        with open_cluster(address) as workers:
            assert dict(work_through(doubling, range(6), workers)) == {k: 2 * k for k in range(6)}
    assert process.poll() is None


def test_a_scheduler_that_is_killed_ends_the_run(scheduler):
    address, process = scheduler

    def items():
        for number in range(100):
            if number == 10:
                process.send_signal(signal.SIGKILL)
            yield number

    start = time.monotonic()
    with pytest.raises(WorkerError, match="give the same command again"), open_cluster(address) as workers:
        list(work_through(doubling, items(), workers))
    assert time.monotonic() - start < 60


def test_an_address_where_nobody_is(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(opening, "_CONNECT", 1.0)
    start = time.monotonic()
    with pytest.raises(WorkerError) as error, open_cluster("tcp://127.0.0.1:9"):
        pass
    assert str(error.value).startswith("No Dask scheduler answers at tcp://127.0.0.1:9 within 1 s; look whether")
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    ("where", "workers", "words"),
    [
        ("cluster.yaml", 1, "'cluster.yaml' is neither local, nor the address of a scheduler"),
        ("tcp://no port", 1, "neither local"),
        ("tcp://10.0.0.1:8786", 2, "--workers is of --cluster local"),
        ("local", 0, "at least 1"),
    ],
)
def test_bad_calls(tmp_path, monkeypatch, where, workers, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfGFError, match=words), open_cluster(where, workers):
        pass


def test_without_dask_one_sentence_says_how_to_get_it():
    code = """
import sys
sys.modules.update(dict.fromkeys(["dask", "distributed"]))
from openmm_confgf.cli.app import main
main(["generate", "CO", "-n", "1", "--generator", "etkdg", "--cluster", "local", "-o", sys.argv[1]])
"""
    done = subprocess.run([sys.executable, "-c", code, os.devnull + ".sdf"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: --cluster needs Dask") and 'pip install "openmm_confgf[cluster]"' in done.stderr


SBATCH = """#!/bin/sh
cp "$1" {folder}/script-$$
setsid sh {folder}/script-$$ > {folder}/log-$$ 2>&1 &
echo $! >> {folder}/pids
echo "Submitted batch job $!"
"""

SCANCEL = """#!/bin/sh
kill -9 -$1
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Programs that do what SLURM's do on a machine of this size: run the script, and kill what it started."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (folder / name).write_text(text.format(folder=folder))
        (folder / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{os.environ.get('PYTHONPATH', '')}")
    return folder


@pytest.mark.slow
def test_jobs_come_as_there_is_work_and_one_that_is_killed_is_queued_again(slurm, tmp_path):
    pytest.importorskip("dask_jobqueue")
    path = tmp_path / "jobs.yaml"
    path.write_text("queue: slurm\nmemory: 1 GB\nwalltime: '00:10:00'\nmaximum_jobs: 2\ninterface: lo\n")

    def items():
        for number in range(400):
            if number == 100:
                os.killpg(int((slurm / "pids").read_text().split()[0]), signal.SIGKILL)
            yield number

    with open_cluster(str(path)) as workers:
        assert not (slurm / "pids").exists()
        assert dict(work_through(doubling, items(), workers)) == {k: 2 * k for k in range(400)}
    submitted = (slurm / "pids").read_text().split()
    assert len(submitted) >= 3  # both that there may be, and one in the place of the first
    deadline = time.monotonic() + 20
    while (left := [pid for pid in submitted if is_running(int(pid))]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


def is_running(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

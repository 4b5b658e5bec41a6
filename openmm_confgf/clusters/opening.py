"""From what ``--cluster`` names to workers: this machine, a Dask scheduler that runs already, or jobs of a queue."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ConfGFError, WorkerError
from ..executors import Workers
from .jobs_file import JobsFile, read_jobs_file

TASK_SECONDS = 5.0
"""What a task is to take: long beside what Dask needs for it, short beside what a machine that goes may cost."""

_CONNECT = 20.0
"""Seconds in which a scheduler must answer."""

_PATIENCE = 600.0
"""Seconds that workers of a scheduler may be away all together; those of jobs may wait in their queue for as long as they do."""

_ADDRESS = re.compile(r"(tcp|tls|ws|wss|ucx)://\S+:\d+|[\w.-]+:\d+|\[[0-9a-fA-F:]+\]:\d+")


@contextlib.contextmanager
def open_cluster(where: str, workers: int = 1) -> Iterator[Workers]:
    """Workers of a cluster, as long as the context lasts; what was started for it ends with it.

    Parameters
    ----------
    where : str
        ``"local"``: processes here; the address of a scheduler, ``"tcp://10.0.0.1:8786"`` or ``"login1:8786"``; or a file
        (`read_jobs_file`) that says which jobs are to be queued.
    workers : int
        How many, of ``"local"``; elsewhere they are as many as there are.

    Yields
    ------
    callable
        What makes a `DaskExecutor` of a setup, as `executors.work_through` takes it.

    Raises
    ------
    ConfGFError
        If it is none of these, Dask is not installed, or no scheduler answers.
    """
    if where != "local" and not _ADDRESS.fullmatch(where) and not Path(where).is_file():
        raise ConfGFError(f"--cluster {where!r} is neither local, nor the address of a scheduler (tcp://HOST:PORT), nor a file.")
    if where != "local" and workers != 1:
        raise ConfGFError("--workers is of --cluster local; elsewhere the file or the scheduler says how many there are.")
    if workers < 1:
        raise ConfGFError(f"{workers} workers were asked for; ask for at least 1.")
    jobs = read_jobs_file(Path(where)) if where != "local" and not _ADDRESS.fullmatch(where) else None
    with contextlib.ExitStack() as stack:
        try:
            if jobs is not None:
                executors = _with_jobs(jobs, stack)
            elif where == "local":
                executors = _here(workers, stack)
            else:
                executors = _connected(where, stack)
        except ImportError as error:
            if (error.name or "").partition(".")[0] not in ("dask", "distributed", "dask_jobqueue", "psutil"):
                raise
            raise ConfGFError(
                f'--cluster needs Dask, which is not installed ({error}); install it: pip install "openmm_confgf[cluster]".'
            ) from error
        yield executors


def _here(workers: int, stack: contextlib.ExitStack) -> Workers:
    from distributed import LocalCluster

    cluster = LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
    )
    stack.callback(cluster.close, timeout=10)
    return _executors(_client(cluster, "local", stack), workers, patience=_PATIENCE)


def _connected(address: str, stack: contextlib.ExitStack) -> Workers:
    from .dask_executor import total_threads

    client = _client(address, address, stack)
    return _executors(client, max(1, total_threads(client)), elastic=True, patience=_PATIENCE)


def _with_jobs(jobs: JobsFile, stack: contextlib.ExitStack) -> Workers:
    import dask_jobqueue

    kind, options = jobs.for_jobqueue(sys.executable)
    try:
        cluster = getattr(dask_jobqueue, kind)(**options)
    except (ValueError, OSError, RuntimeError) as error:  # an interface that is not there, for example
        raise ConfGFError(f"The jobs cannot be queued from here: {' '.join(str(error).split())}.") from error
    stack.callback(cluster.close, timeout=10)
    # also where both are the same: jobs that end are queued again
    cluster.adapt(minimum_jobs=jobs.minimum_jobs, maximum_jobs=jobs.maximum_jobs)
    return _executors(_client(cluster, kind, stack), jobs.workers)


def _client(cluster: Any, name: str, stack: contextlib.ExitStack) -> Any:
    from distributed import Client

    # workers that come and go are told where it matters; Dask tells it in many lines, and sets this up when it is imported
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        client = Client(cluster, timeout=_CONNECT, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise WorkerError(
            f"No Dask scheduler answers at {name} within {_CONNECT:g} s; look whether it runs there and can be reached from here."
        ) from error
    stack.callback(client.close, timeout=5)
    return client


def _executors(client: Any, workers: int, elastic: bool = False, patience: float = math.inf) -> Workers:
    from .dask_executor import DaskExecutor

    return functools.partial(DaskExecutor, workers=workers, client=client, task_seconds=TASK_SECONDS, elastic=elastic, patience=patience)

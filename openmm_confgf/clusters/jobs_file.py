"""The file of ``--cluster FILE``: which jobs a queue is asked for, in the same words for SLURM, PBS, SGE and LSF."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import yaml

from ..errors import ConfGFError, FileFormatError

_CLUSTERS = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "sge": "SGECluster", "lsf": "LSFCluster"}
"""Queues, and what dask-jobqueue calls them."""

_MOST_BYTES = 65_536
_UNITS = {"mb": 10**6, "gb": 10**9, "tb": 10**12, "mib": 2**20, "gib": 2**30, "tib": 2**40}


@dataclasses.dataclass(frozen=True)
class JobsFile:
    """What a jobs file says.

    Attributes
    ----------
    queue : str
        slurm, pbs, sge or lsf.
    memory : str
        Of a job, as ``"8 GB"``; its workers share it.
    walltime : str
        As the queue takes it: ``"04:00:00"``.
    maximum_jobs, minimum_jobs : int
        As many are queued as there is work for, between these.
    partition, account : str, optional
        Called queue and project by some.
    gpus, workers_per_job, cores : int
        Of a job; a worker for each GPU and a core for each worker by default.
    interface : str, optional
        Network interface by which jobs reach the program: ``ib0``.
    python : str, optional
        The Python of the jobs; that of the program by default.
    prologue, directives : tuple of str
        Lines of the job script before the worker, and more options of the queue without their ``#SBATCH``.
    log_directory, local_directory : str, optional
        Where the queue's logs and Dask's scratch files go.
    sge_parallel_environment : str, optional
        What several cores of a job are called in SGE: ``smp``.
    """

    queue: str
    memory: str
    walltime: str
    maximum_jobs: int
    minimum_jobs: int = 0
    partition: str | None = None
    account: str | None = None
    gpus: int = 0
    workers_per_job: int = 0
    cores: int = 0
    interface: str | None = None
    python: str | None = None
    prologue: tuple[str, ...] = ()
    directives: tuple[str, ...] = ()
    log_directory: str | None = None
    local_directory: str | None = None
    sge_parallel_environment: str | None = None

    def __post_init__(self) -> None:
        if self.queue not in _CLUSTERS:
            raise FileFormatError(f"queue is {self.queue!r}; give {', '.join(_CLUSTERS)}.")
        if not 1 <= self.maximum_jobs <= 10_000 or not 0 <= self.minimum_jobs <= self.maximum_jobs:
            raise FileFormatError(
                f"minimum_jobs is {self.minimum_jobs} and maximum_jobs {self.maximum_jobs}; give 0 or more, and 1 to 10000 that is no less."
            )
        for name in ("gpus", "workers_per_job", "cores"):
            if not 0 <= getattr(self, name) <= 1024:
                raise FileFormatError(f"{name} is {getattr(self, name)}; give 0 to 1024.")
        if not re.fullmatch(r"\d+(-\d+)?(:\d\d){0,2}", self.walltime):
            raise FileFormatError(f'walltime is {self.walltime!r}; give it in quotes as the queue takes it: "04:00:00".')
        self.memory_bytes  # noqa: B018  # refuses what is none
        object.__setattr__(self, "workers_per_job", self.workers_per_job or max(1, self.gpus))
        object.__setattr__(self, "cores", self.cores or self.workers_per_job)
        if self.cores < self.workers_per_job:
            raise FileFormatError(f"a job has {self.cores} cores for {self.workers_per_job} workers; give at least one each.")

    @property
    def memory_bytes(self) -> int:
        """Bytes of a job.

        Raises
        ------
        FileFormatError
            If `memory` is none.
        """
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]+)", self.memory)
        if found is None or found[2].lower() not in _UNITS or float(found[1]) <= 0:
            raise FileFormatError(f"memory is {self.memory!r}; give a number with its unit: 8 GB.")
        return int(float(found[1]) * _UNITS[found[2].lower()])

    @property
    def workers(self) -> int:
        """How many there are when all jobs run."""
        return self.maximum_jobs * self.workers_per_job

    def for_jobqueue(self, python: str) -> tuple[str, dict[str, Any]]:
        """The class of dask-jobqueue and its arguments.

        Parameters
        ----------
        python : str
            Of the jobs, where the file names none.
        """
        directives = list(self.directives)
        options: dict[str, Any] = {}
        if self.queue == "slurm":
            options = {"account": self.account, "job_cpu": self.cores}
            directives += [f"--gres=gpu:{self.gpus}"] if self.gpus else []
        elif self.queue == "pbs":
            gpus = f":ngpus={self.gpus}" if self.gpus else ""
            select = f"select=1:ncpus={self.cores}:mem={self.memory_bytes // 10**6}MB{gpus}"
            options = {"account": self.account, "resource_spec": select}
        elif self.queue == "sge":
            gpus = f",gpu={self.gpus}" if self.gpus else ""
            options = {"project": self.account, "resource_spec": f"h_vmem={self.memory_bytes // self.cores // 10**6}M{gpus}"}
            if self.cores > 1:
                if self.sge_parallel_environment is None:
                    raise FileFormatError("several cores of a job need sge_parallel_environment: the name of one, such as smp.")
                directives.append(f"-pe {self.sge_parallel_environment} {self.cores}")
        else:
            options = {"project": self.account, "ncpus": self.cores, "mem": self.memory_bytes, "lsf_units": "mb"}
            directives += [f'-gpu "num={self.gpus}"'] if self.gpus else []
        return _CLUSTERS[self.queue], options | {
            "queue": self.partition,
            "walltime": self.walltime,
            # one thread for each worker of Dask: dask-jobqueue divides these by the processes
            "cores": self.workers_per_job,
            "processes": self.workers_per_job,
            "memory": f"{self.memory_bytes} B",
            "python": self.python or python,
            "interface": self.interface,
            "job_extra_directives": directives,
            "job_script_prologue": list(self.prologue),
            "log_directory": self.log_directory,
            "local_directory": self.local_directory,
            "job_name": "openmm-confgf",
            # of several commands on a login node, none wants the port of another's dashboard
            "scheduler_options": {"dashboard_address": ":0"},
        }


def read_jobs_file(path: Path) -> JobsFile:
    """A jobs file: YAML with the names of `JobsFile`.

    Parameters
    ----------
    path : Path

    Raises
    ------
    FileFormatError
        If it cannot be read, is too long to be one, or says something else; the message names the key.
    """
    try:
        with open(path, "rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise FileFormatError(f"{path} has more than {_MOST_BYTES} bytes, which is no file of jobs.")
        told = yaml.safe_load(content.decode())
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        raise FileFormatError(f"{path} is no YAML that can be read ({_first_line(error)}).") from error
    if not isinstance(told, dict):
        raise FileFormatError(f"{path} is no list of names with their values; docs/scale.md shows one.")
    fields = {field.name: field for field in dataclasses.fields(JobsFile)}
    unknown = sorted(str(name)[:40] for name in told if name not in fields)
    if unknown:
        raise FileFormatError(f"{path} has {', '.join(map(repr, unknown))}, which is unknown; the names are {', '.join(fields)}.")
    missing = [name for name, field in fields.items() if field.default is dataclasses.MISSING and name not in told]
    if missing:
        raise FileFormatError(f"{path} lacks {', '.join(missing)}.")
    try:
        return JobsFile(**{name: _checked(name, value, str(fields[name].type)) for name, value in told.items()})
    except ConfGFError as error:
        raise FileFormatError(f"{path}: {error}") from error


def _checked(name: str, value: Any, kind: str) -> Any:
    if kind == "int":
        if isinstance(value, bool) or not isinstance(value, int):
            raise FileFormatError(f"{name} is no whole number.")
        return value
    if kind.startswith("tuple"):
        if not isinstance(value, list) or len(value) > 100:
            raise FileFormatError(f"{name} is no list of lines.")
        return tuple(_line(name, line) for line in value)
    return None if value is None and "None" in kind else _line(name, value)


def _line(name: str, value: Any) -> str:
    """One line of a job script: YAML reads 04:00:00 without quotes as a number, and what has a second line is more than its name says."""
    if not isinstance(value, str) or not value or not value.isprintable() or len(value) > 1000:
        raise FileFormatError(f"{name} is no line of text; put it in quotes.")
    return value


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]

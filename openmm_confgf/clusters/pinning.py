"""One CUDA device for each worker."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path


def pinned_device(name: str, environment: Mapping[str, str], devices: int) -> dict[str, str]:
    """The one CUDA device that the processes of a worker see, as an environment: device 0 for torch and for OpenMM's DeviceIndex.

    Workers of one job, or of this machine, are numbered at the end of their names: ``3``, ``SLURMCluster-0-3``. Where the name has no
    number it is the first device, as dask-cuda has it.

    Parameters
    ----------
    name : str
        Of the worker.
    environment : mapping of str to str
        Whose CUDA_VISIBLE_DEVICES counts if it is set.
    devices : int
        How many there are where it is not.

    Examples
    --------
    >>> pinned_device("SLURMCluster-0-1", {"CUDA_VISIBLE_DEVICES": "4,6"}, 8)
    {'CUDA_VISIBLE_DEVICES': '6'}
    """
    listed = environment.get("CUDA_VISIBLE_DEVICES")
    visible = [str(number) for number in range(devices)] if listed is None else [part for part in listed.split(",") if part.strip()]
    if not visible:
        return {}
    number = re.search(r"(?:^|-)(\d+)$", name)
    return {"CUDA_VISIBLE_DEVICES": visible[int(number[1]) % len(visible) if number else 0]}


def devices_here() -> int:
    """Number of NVIDIA devices: the worker of Dask loads no CUDA itself."""
    return sum(bool(re.fullmatch(r"nvidia\d+", path.name)) for path in Path("/dev").glob("nvidia*"))

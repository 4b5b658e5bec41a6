"""What so many conformations take in memory, and what is free."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import ConfGFError
from ..molecules.graph import MolecularGraph

_COPIES = 8
"""Of the positions in float64 while they are made: the candidates of each start, starts, what the network gives, the ensemble and its
check."""

_MEMINFO = Path("/proc/meminfo")


def check_memory(molecules: Sequence[MolecularGraph], counts: Sequence[int]) -> None:
    """Refuse a request of which one molecule's conformations do not fit into the free memory; molecules come one after the other.

    Parameters
    ----------
    molecules : sequence of MolecularGraph, (M,)
    counts : sequence of int, (M,)
        Conformations of each.

    Raises
    ------
    ConfGFError
        If one does not fit.
    """
    if not molecules or (free := free_memory()) is None:
        return
    count, graph = max(zip(counts, molecules, strict=True), key=lambda asked: asked[0] * len(asked[1]))
    needed = count * len(graph) * 3 * 8 * _COPIES
    if needed > free:
        raise ConfGFError(
            f"{count} conformations of {graph.name!r} would take {_told(needed)} of memory, and {_told(free)} are free; "
            f"ask for at most {count * free // needed} at a time, with another seed each time."
        )


def free_memory() -> int | None:
    """Bytes that can be had without swapping; all of the machine's where only these are known, None where nothing is."""
    if _MEMINFO.exists() and (found := re.search(r"^MemAvailable:\s+(\d+) kB", _MEMINFO.read_text(), re.MULTILINE)):
        return int(found[1]) * 1024
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # no POSIX
        return None


def _told(size: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.3g} {unit}"

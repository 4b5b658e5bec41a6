"""Minimisation of many conformations in GFN2-xTB: by the xtb program where there is one, else by tblite's gradients."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from scipy.optimize import minimize

from ...errors import ForceFieldError
from ...molecules.graph import MolecularGraph
from ...status import Status
from ...units import KJ_PER_HARTREE, NM_PER_ANGSTROM, NM_PER_BOHR
from ..interface import can_be_evaluated, frames_of
from ..minimize import Minimized
from .gfn2 import GFN2Energy, check_elements, require_tblite

OPTIMIZERS = ("xtb", "tblite")
"""By preference: the program's approximate normal coordinates need a third to a fifth of the gradients that Cartesian L-BFGS needs."""

GRADIENT_TOLERANCE = 1e-4
"""Largest component (Hartree/Bohr) of the gradient at tblite's minima. Against tighter ones they are mostly within 0.1 kJ/mol; 4e-4 left
up to 2 kJ/mol, a methyl group half turned, say."""

_XTB_LEVEL = "tight"
"""The program's own name for 1e-6 Hartree and a gradient norm of 8e-4 Hartree/Bohr: as near to the minima, up to 0.15 kJ/mol."""

_STEPS_IN_MEMORY = 20

_Descent = Callable[[NDArray[np.float64], int], tuple[NDArray[np.float64], float, bool] | None]
"""From positions (N, 3) in nm and an iteration limit to those of the minimum, its energy in kJ/mol and whether it converged, or None."""


def resolve_optimizer(name: str = "auto") -> str:
    """The optimiser of this name, or the first of `OPTIMIZERS` that is installed.

    Parameters
    ----------
    name : str
        ``"auto"`` or one of `OPTIMIZERS`.

    Returns
    -------
    str
        One of `OPTIMIZERS`.

    Raises
    ------
    ForceFieldError
        If it is unknown, or what it needs is not installed.
    """
    if name not in ("auto", *OPTIMIZERS):
        raise ForceFieldError(f"There is no GFN2-xTB optimiser {name!r}; take auto, {' or '.join(OPTIMIZERS)}.")
    if name in ("auto", "xtb") and shutil.which("xtb"):
        return "xtb"
    if name == "xtb":
        raise ForceFieldError("There is no program xtb on the PATH; install it (conda install -c conda-forge xtb), or take tblite.")
    require_tblite()
    return "tblite"


def optimizer_version(name: str) -> str:
    """Version of an installed optimiser, ``"unknown"`` where the program does not tell it.

    Parameters
    ----------
    name : str
        One of `OPTIMIZERS`.
    """
    if name == "tblite":
        return importlib.metadata.version("tblite")
    done = subprocess.run(["xtb", "--version"], capture_output=True, text=True, errors="replace")
    found = re.search(r"xtb version (\S+)", done.stdout + done.stderr)
    return found[1] if found else "unknown"


def minimize_gfn2(graph: MolecularGraph, positions: Any, optimizer: str = "auto", max_iterations: int = 1000) -> Minimized:
    """Bring each conformation to its nearest minimum in GFN2-xTB (gas phase). A bad one never affects another.

    Parameters
    ----------
    graph : MolecularGraph
    positions : array_like or Quantity, (B, N, 3) or (N, 3)
        nm.
    optimizer : str
        ``"auto"``, ``"xtb"`` (the program, on the PATH; doi:10.1002/wcms.1493) or ``"tblite"`` (its gradients with SciPy's L-BFGS-B).
    max_iterations : int
        Steps per conformation, after which it is NOT_CONVERGED.

    Returns
    -------
    Minimized
        Energies are those of `GFN2Energy`. FAILED where the optimiser gave up, NON_FINITE where there was nothing to start from or
        nothing finite came out; such a conformation keeps the positions that were given.

    Raises
    ------
    ForceFieldError
        If the optimiser is unknown or not installed, or the molecule has an element beyond radon.
    ValueError
        If N is not the molecule's number of atoms, or the iteration limit is not positive.
    """
    check_elements(graph)
    if max_iterations < 1:
        raise ValueError(f"The iteration limit is {max_iterations}; it must be positive.")
    frames = frames_of(positions, len(graph), repr(graph.name), "atoms").copy()
    descend = _xtb_descent(graph) if resolve_optimizer(optimizer) == "xtb" else _tblite_descent(graph)
    energies = np.full(len(frames), np.inf)
    status = np.full(len(frames), Status.NON_FINITE, np.int8)
    for i in np.flatnonzero(can_be_evaluated(frames)):
        outcome = descend(frames[i], max_iterations)
        if outcome is None:
            status[i] = Status.FAILED
            continue
        relaxed, value, converged = outcome
        if np.isfinite(value) and can_be_evaluated(relaxed[None])[0]:
            frames[i], energies[i] = relaxed, value
            status[i] = Status.OK if converged else Status.NOT_CONVERGED
    return Minimized(frames, energies, status)


def _tblite_descent(graph: MolecularGraph) -> _Descent:
    energy = GFN2Energy(graph)

    def descend(frame: NDArray[np.float64], max_iterations: int) -> tuple[NDArray[np.float64], float, bool] | None:
        last: list[Any] = []

        def value_and_gradient(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            calculator.update(flat.reshape(-1, 3))
            # the density of the last step is a good guess for this one
            last[:] = [calculator.singlepoint(*last)]
            return last[0].get("energy"), last[0].get("gradient").ravel()

        # ftol would stop the descent on a plateau, and the gradient decides by itself
        options = {"maxiter": max_iterations, "gtol": GRADIENT_TOLERANCE, "ftol": 0.0, "maxcor": _STEPS_IN_MEMORY}
        try:
            calculator = energy.calculator(frame)
            found = minimize(value_and_gradient, frame.ravel() / NM_PER_BOHR, jac=True, method="L-BFGS-B", options=options)
        except energy.failure:
            return None
        converged = bool(np.abs(found.jac).max() <= GRADIENT_TOLERANCE)
        return found.x.reshape(-1, 3) * NM_PER_BOHR, float(found.fun) * KJ_PER_HARTREE, converged

    return descend


def _xtb_descent(graph: MolecularGraph) -> _Descent:
    symbols = [Chem.GetPeriodicTable().GetElementSymbol(int(z)) for z in graph.numbers]
    arguments = ["xtb", "start.xyz", "--gfn", "2", "--opt", _XTB_LEVEL, "--chrg", str(graph.total_charge), "--uhf", "0"]
    # molecules of tens of atoms: threads cost more than they bring
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

    def descend(frame: NDArray[np.float64], max_iterations: int) -> tuple[NDArray[np.float64], float, bool] | None:
        # the program writes a dozen files, and restarts from those it finds: a new folder each time
        with tempfile.TemporaryDirectory(prefix="openmm_confgf-") as folder:
            rows = [f"{s} {x:.12f} {y:.12f} {z:.12f}" for s, (x, y, z) in zip(symbols, frame / NM_PER_ANGSTROM, strict=True)]
            Path(folder, "start.xyz").write_text("\n".join([str(len(rows)), "", *rows, ""]))
            cycles = ["--cycles", str(max_iterations)]
            done = subprocess.run([*arguments, *cycles], cwd=folder, env=environment, capture_output=True, text=True, errors="replace")
            optimized = Path(folder, "xtbopt.xyz")
            if done.returncode or not optimized.exists():
                return None
            _, comment, *lines = optimized.read_text().splitlines()
        relaxed = np.array([line.split()[1:4] for line in lines], np.float64) * NM_PER_ANGSTROM
        energy = re.search(r"energy:\s*(\S+)", comment)
        if energy is None or relaxed.shape != frame.shape:
            return None
        return relaxed, float(energy[1]) * KJ_PER_HARTREE, "GEOMETRY OPTIMIZATION CONVERGED" in done.stdout

    return descend

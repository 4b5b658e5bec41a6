"""GFN2-xTB energies of conformations, through tblite."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ForceFieldError
from ...molecules.graph import MolecularGraph
from ...status import Status
from ...units import KJ_PER_HARTREE, NM_PER_BOHR
from ..interface import Energy, EnergyResult, can_be_evaluated, frames_of

HEAVIEST_ELEMENT = 86
"""Radon, the last element that GFN2-xTB has parameters for."""


class GFN2Energy(Energy):
    """Evaluates conformations of one molecule with GFN2-xTB (Bannwarth, Ehlert & Grimme 2019, doi:10.1021/acs.jctc.8b01176).

    In the gas phase, with the molecule's formal charge, as a singlet: a `MolecularGraph` has no unpaired electrons.

    Parameters
    ----------
    graph : MolecularGraph

    Raises
    ------
    ForceFieldError
        If tblite is not installed, or the molecule has an element beyond radon.
    """

    def __init__(self, graph: MolecularGraph) -> None:
        check_elements(graph)
        self.graph = graph
        self._tblite = require_tblite()

    def evaluate(self, positions: Any, forces: bool = False) -> EnergyResult:
        """Energies, and forces if asked for, of many conformations. A bad one never affects another.

        Parameters
        ----------
        positions : array_like or Quantity, (B, N, 3) or (N, 3)
            nm, in the graph's atom order.
        forces : bool
            Whether to return forces as well.

        Returns
        -------
        EnergyResult
            Total energies in kJ/mol, those of separate nuclei and valence electrons being 0. FAILED where two atoms coincide or the charges
            do not become self-consistent.

        Raises
        ------
        ValueError
            If N is not the molecule's number of atoms.
        """
        frames = frames_of(positions, len(self.graph), repr(self.graph.name), "atoms")
        energy = np.full(len(frames), np.inf)
        status = np.full(len(frames), Status.NON_FINITE, np.int8)
        gradients = np.full(frames.shape, np.nan) if forces else None
        for i, result in self._singlepoints(frames):
            if result is None:
                status[i] = Status.FAILED
                continue
            value, gradient = result.get("energy"), result.get("gradient")
            if np.isfinite(value) and np.isfinite(gradient).all():
                energy[i], status[i] = value * KJ_PER_HARTREE, Status.OK
                if gradients is not None:
                    gradients[i] = -gradient * (KJ_PER_HARTREE / NM_PER_BOHR)
        return EnergyResult(energy, gradients, status)

    def gaps(self, positions: Any) -> NDArray[np.float64]:
        """Gaps between the highest occupied and the lowest empty orbital of many conformations.

        Parameters
        ----------
        positions : array_like or Quantity, (B, N, 3) or (N, 3)
            nm, in the graph's atom order.

        Returns
        -------
        ndarray of float64, (B,)
            kJ/mol; NaN where the calculation fails, or there is no empty orbital.

        Raises
        ------
        ValueError
            If N is not the molecule's number of atoms.
        """
        frames = frames_of(positions, len(self.graph), repr(self.graph.name), "atoms")
        found = np.full(len(frames), np.nan)
        for i, result in self._singlepoints(frames):
            if result is not None:
                levels, pairs = result.get("orbital-energies"), round(result.get("orbital-occupations").sum() / 2)
                found[i] = (levels[pairs] - levels[pairs - 1]) * KJ_PER_HARTREE if 0 < pairs < len(levels) else np.nan
        return found

    def _singlepoints(self, frames: NDArray[np.float64]) -> Iterator[tuple[int, Any]]:
        """Number and tblite's result of each conformation that can be evaluated, None for one that fails."""
        for i in np.flatnonzero(can_be_evaluated(frames)).tolist():
            try:
                # one that starts from another's density could inherit what is wrong with it
                result = self.calculator(frames[i]).singlepoint()
            except self.failure:
                result = None
            yield i, result

    def calculator(self, frame: NDArray[np.float64]) -> Any:
        """A silent ``tblite.interface.Calculator`` of one conformation; tblite's own units are Bohr and Hartree.

        Parameters
        ----------
        frame : ndarray of float64, (N, 3)
            nm.

        Raises
        ------
        Exception
            Of the type `failure`, if tblite refuses the conformation.
        """
        calculator = self._tblite.interface.Calculator(
            "GFN2-xTB", self.graph.numbers, frame / NM_PER_BOHR, charge=float(self.graph.total_charge), uhf=0
        )
        calculator.set("verbosity", 0)
        return calculator

    @property
    def failure(self) -> type[Exception]:
        """What tblite raises when a calculation fails."""
        failure: type[Exception] = self._tblite.exceptions.TBLiteRuntimeError
        return failure


def check_elements(graph: MolecularGraph) -> None:
    """Refuse a molecule that GFN2-xTB has no parameters for.

    Parameters
    ----------
    graph : MolecularGraph

    Raises
    ------
    ForceFieldError
        If it has an element beyond radon.
    """
    if graph.numbers.max() > HEAVIEST_ELEMENT:
        raise ForceFieldError(
            f"GFN2-xTB ends at radon and has no parameters for element {graph.numbers.max()} of {graph.name!r}; take a System of your own, "
            "or leave the molecule out."
        )


def require_tblite() -> Any:
    """The package tblite with its Python interface.

    Raises
    ------
    ForceFieldError
        If it is not installed.
    """
    try:
        importlib.import_module("tblite.interface")  # brings tblite.exceptions along
        return importlib.import_module("tblite")
    except ImportError as error:
        raise ForceFieldError(
            f"GFN2-xTB needs tblite ({error}); pip install openmm_confgf[reference], or conda install -c conda-forge tblite-python."
        ) from error

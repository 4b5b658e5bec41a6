"""What raw samples cost: their energies above the molecule's minimum, in GFN2-xTB or a force field of OpenMM."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..energies import ContextEnergy, GFN2Energy, SystemBuilder
from ..energies.xtb.gfn2 import require_tblite
from ..errors import ForceFieldError
from ..files.archive import ReferenceMolecule
from ..molecules.graph import MolecularGraph


class EnergyAboveMinimum:
    """Energies of conformations above the lowest of the reference conformers, all evaluated as they are by the same code.

    The references of QM9-xTB are minima of GFN2-xTB. Where they are not minima of the level at hand, an energy may be below 0.

    Parameters
    ----------
    level : str
        ``"gfn2"``, or a force field as in `create_system`.
    references : sequence of ReferenceMolecule

    Raises
    ------
    ForceFieldError
        If the force field is unknown, or what it needs is not installed.
    """

    def __init__(self, level: str, references: Sequence[ReferenceMolecule]) -> None:
        if level == "gfn2":
            require_tblite()
        self._builder = None if level == "gfn2" else SystemBuilder(level)
        self.level, self.references = level, references
        self._lowest: dict[int, float] = {}

    def __call__(self, index: int, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Energies of conformations of one molecule.

        Parameters
        ----------
        index : int
            Which of the references.
        positions : ndarray of float64, (B, N, 3)
            nm.

        Returns
        -------
        ndarray of float64, (B,)
            kJ/mol; +inf where the evaluation failed.

        Raises
        ------
        ForceFieldError
            If the level has no parameters for the molecule, or no energy for any of its references.
        """
        reference = self.references[index]
        # one evaluation for the two, since parametrising a molecule may cost more than its energies
        known = 0 if index in self._lowest else len(reference.positions)
        energies = self._evaluate(reference.graph, np.concatenate([reference.positions[:known], positions]))
        if known:
            self._lowest[index] = float(energies[:known].min())
        if not np.isfinite(self._lowest[index]):
            raise ForceFieldError(f"{self.level} has no energy for any reference of {reference.name!r}; take another level.")
        return energies[known:] - self._lowest[index]

    def _evaluate(self, graph: MolecularGraph, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._builder is None:
            return GFN2Energy(graph).evaluate(positions).energy
        with ContextEnergy(self._builder.build(graph)) as energy:
            return energy.evaluate(positions).energy

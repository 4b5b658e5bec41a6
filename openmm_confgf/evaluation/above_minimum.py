"""What raw samples cost: their energies above the molecule's minimum, at a level of theory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..energies import LevelLike, level_of
from ..errors import ForceFieldError
from ..files.archive import ReferenceMolecule


class EnergyAboveMinimum:
    """Energies of conformations above the lowest of the reference conformers, all evaluated as they are by the same code.

    The references of QM9-xTB are minima of GFN2-xTB. Where they are not minima of the level at hand, an energy may be below 0.

    Parameters
    ----------
    level : str, Level or force field
        As in `Level`: ``"gfn2"``, ``"mmff94s"``, or a force field as in `create_system`.
    references : sequence of ReferenceMolecule

    Raises
    ------
    ForceFieldError
        If the level is unknown, or what its energies need is not installed.
    """

    def __init__(self, level: LevelLike, references: Sequence[ReferenceMolecule]) -> None:
        self.level, self.references = level_of(level), references
        self.level.check_energies()
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
        result, _ = self.level.evaluation(reference.graph, np.concatenate([reference.positions[:known], positions]))
        energies = result.energy
        if known:
            self._lowest[index] = float(energies[:known].min())
        if not np.isfinite(self._lowest[index]):
            raise ForceFieldError(f"{self.level.name} has no energy for any reference of {reference.name!r}; take another level.")
        return energies[known:] - self._lowest[index]

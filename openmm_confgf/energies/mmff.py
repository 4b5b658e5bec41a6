"""MMFF94s, and UFF for what it has no parameters for, as RDKit has them: energies, forces and minima."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem import rdForceFieldHelpers

from ..errors import ForceFieldError
from ..molecules.graph import MolecularGraph
from ..status import Status
from ..units import KJ_PER_KCAL, NM_PER_ANGSTROM
from .interface import Energy, EnergyResult, can_be_evaluated, frames_of
from .minimize import Minimized

MAX_STEPS = 5000
"""Steps of RDKit's minimiser after which a conformation is NOT_CONVERGED; drug-like molecules of 60 to 90 atoms took fewer than 1000."""

_NOTHING_SET_UP = -1
"""RDKit's answer where it could not begin; 0 is a minimum, 1 the step limit."""

_NO_CUTOFF = 1e9
"""Beyond all distances. RDKit leaves out the pairs that are far apart (from 100 Angstrom on, in UFF from ten contact distances on) in the
first conformation of a batch, whatever the others are like."""


class MMFFEnergy(Energy):
    """Evaluates and minimises conformations of one molecule with MMFF94s, by RDKit on the CPU.

    MMFF94s: Halgren 1999, doi:10.1002/(SICI)1096-987X(199905)20:7<720::AID-JCC7>3.0.CO;2-X; in RDKit: Tosco, Stiefl & Landrum 2014,
    doi:10.1186/s13321-014-0037-3.

    Parameters
    ----------
    graph : MolecularGraph
    or_uff : bool
        Whether UFF (Rappe et al. 1992, doi:10.1021/ja00051a040) stands in for a molecule that MMFF94s has no parameters for.

    Attributes
    ----------
    graph : MolecularGraph
    forcefield : str
        ``"MMFF94s"`` or ``"UFF"``.

    Raises
    ------
    ForceFieldError
        If there are no parameters for the molecule.

    Examples
    --------
    The chair of cyclohexane, -3.56 kcal/mol:

    >>> from openmm_confgf import generate
    >>> chair = generate("C1CCCCC1", 1, generator="etkdg")
    >>> energy = MMFFEnergy(chair.graph)
    >>> energy.minimize(chair.positions).energy.round(1)
    array([-14.9])
    """

    def __init__(self, graph: MolecularGraph, or_uff: bool = False) -> None:
        self.graph = graph
        self.forcefield = _with_parameters(graph, or_uff)

    def evaluate(self, positions: Any, forces: bool = False) -> EnergyResult:
        """Energies, and forces if asked for, of many conformations. A bad one never affects another.

        Parameters
        ----------
        positions : array_like or Quantity, (B, N, 3) or (N, 3)
            nm, in the graph's atom order.
        forces : bool
            Whether to return forces as well; a conformation whose forces are not finite is then NON_FINITE too.

        Returns
        -------
        EnergyResult
            In kJ/mol, RDKit's kcal/mol times 4.184.

        Raises
        ------
        ValueError
            If N is not the molecule's number of atoms.
        """
        frames = self._frames(positions)
        energy = np.full(len(frames), np.inf)
        status = np.full(len(frames), Status.NON_FINITE, np.int8)
        gradients = np.full(frames.shape, np.nan) if forces else None
        for i in np.flatnonzero(can_be_evaluated(frames)):
            mol = self.graph.to_rdkit(frames[i])  # a force field points into its molecule and does not keep it
            with rdBase.BlockLogs():
                field = self._field(mol)
                value = field.CalcEnergy()
                gradient = np.reshape(field.CalcGrad(), (-1, 3)) if forces else np.zeros(3)
            if np.isfinite(value) and np.isfinite(gradient).all():
                energy[i], status[i] = value * KJ_PER_KCAL, Status.OK
                if gradients is not None:
                    gradients[i] = -gradient * (KJ_PER_KCAL / NM_PER_ANGSTROM)
        return EnergyResult(energy, gradients, status)

    def minimize(self, positions: Any) -> Minimized:
        """Bring each conformation to its nearest minimum (RDKit's BFGS). A bad one never affects another.

        Parameters
        ----------
        positions : array_like or Quantity, (B, N, 3) or (N, 3)
            nm, in the graph's atom order.

        Returns
        -------
        Minimized
            Energies are those of `evaluate`. A conformation that cannot be evaluated, or comes to nothing finite, keeps the positions that
            were given.

        Raises
        ------
        ValueError
            If N is not the molecule's number of atoms.
        """
        frames = self._frames(positions).copy()
        energy = np.full(len(frames), np.inf)
        status = np.full(len(frames), Status.NON_FINITE, np.int8)
        usable = np.flatnonzero(can_be_evaluated(frames))
        if not len(usable):  # RDKit refuses a molecule without conformers
            return Minimized(frames, energy, status)
        mol = self.graph.to_rdkit(frames[usable])
        with rdBase.BlockLogs():
            if self.forcefield == "MMFF94s":
                outcome = rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(mol, 0, MAX_STEPS, self.forcefield, _NO_CUTOFF)
            else:
                outcome = rdForceFieldHelpers.UFFOptimizeMoleculeConfs(mol, 0, MAX_STEPS, _NO_CUTOFF)
        relaxed = np.array([c.GetPositions() for c in mol.GetConformers()]) * NM_PER_ANGSTROM
        flags, values = np.array([flag for flag, _ in outcome], int), np.array([kcal for _, kcal in outcome], float) * KJ_PER_KCAL
        finite = np.isfinite(relaxed).all(axis=(1, 2)) & np.isfinite(values)
        broken = [(flags == _NOTHING_SET_UP, Status.FAILED), (~finite, Status.NON_FINITE), (flags != 0, Status.NOT_CONVERGED)]
        status[usable] = np.select([mask for mask, _ in broken], [np.int8(s) for _, s in broken], np.int8(Status.OK))
        kept = (flags != _NOTHING_SET_UP) & finite
        frames[usable[kept]], energy[usable[kept]] = relaxed[kept], values[kept]
        return Minimized(frames, energy, status)

    def _frames(self, positions: Any) -> NDArray[np.float64]:
        return frames_of(positions, len(self.graph), repr(self.graph.name), "atoms")

    def _field(self, mol: Chem.Mol) -> Any:
        """RDKit's force field of a molecule's only conformer."""
        if self.forcefield == "UFF":
            return rdForceFieldHelpers.UFFGetMoleculeForceField(mol, _NO_CUTOFF)
        properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol, self.forcefield)
        return rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, properties, _NO_CUTOFF)


def _with_parameters(graph: MolecularGraph, or_uff: bool) -> str:
    """``"MMFF94s"`` or ``"UFF"``: the one that has parameters for the molecule."""
    with rdBase.BlockLogs():
        if rdForceFieldHelpers.MMFFHasAllMoleculeParams(graph.mol):
            return "MMFF94s"
        if not or_uff:
            raise ForceFieldError(f"MMFF94s has no parameters for {graph.name!r}; take mmff (UFF then), openff-2.2.1 or gfn2.")
        if rdForceFieldHelpers.UFFHasAllMoleculeParams(graph.mol):
            return "UFF"
    raise ForceFieldError(f"Neither MMFF94s nor UFF has parameters for {graph.name!r}; take openff-2.2.1 or gfn2.")

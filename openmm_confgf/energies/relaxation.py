"""Bringing conformations to the nearest minimum of a force field: OpenMM's, or MMFF94s as RDKit has it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import rdkit
from numpy.typing import NDArray
from rdkit import rdBase
from rdkit.Chem import rdForceFieldHelpers

from ..ensemble import Ensemble
from ..errors import ForceFieldError
from ..molecule_like import check_ensemble
from ..molecules.checks import check_conformations
from ..molecules.graph import MolecularGraph
from ..status import Status
from ..units import KJ_PER_KCAL, NM_PER_ANGSTROM
from . import ContextEnergy, ForceFieldLike, Minimized
from . import minimize as minimize_positions
from .systems.source import system_source

MAX_MMFF_STEPS = 5000
"""Steps of RDKit's minimiser after which a conformation is NOT_CONVERGED; drug-like molecules of 60 to 90 atoms took fewer than 1000."""

_NOTHING_SET_UP = -1
"""RDKit's answer where it could not begin; 0 is a minimum, 1 the step limit."""


def relax(
    ensemble: Ensemble,
    forcefield: ForceFieldLike = "mmff94s",
    *,
    platform: str = "auto",
    properties: Mapping[str, Any] | None = None,
) -> Ensemble:
    """Bring each conformation that is OK to its nearest minimum in a force field; the others keep their row and status.

    Minima are checked again: they must still be the molecule that they were. A density ``log_q`` is dropped, since it is of others.

    Parameters
    ----------
    ensemble : Ensemble
    forcefield : str, SystemBuilder, openmm.System, ForceField, SystemGenerator or callable
        ``"mmff94s"`` (RDKit's), ``"mmff"`` (the same, and UFF for molecules that MMFF94s has no parameters for), or as in
        `system_source`: a name as in `create_system`, a System of your own ...
    platform, properties
        As in `ContextEnergy`; MMFF94s and UFF run on the CPU whatever they say.

    Returns
    -------
    Ensemble
        With energies in kJ/mol, of the force field. ``provenance.generator`` becomes ``"<generator>+<force field>"``, and
        ``provenance.settings["relaxation"]`` tells what was used.

    Raises
    ------
    WrongTypeError
        If an argument is of a type that is not taken.
    ForceFieldError
        If the force field is unknown or has no parameters for the molecule, or the System is not the molecule's.
    PlatformError
        If the platform is not available.

    Examples
    --------
    >>> from openmm_confgf import generate
    >>> relaxed = relax(generate("CCO", 3, generator="etkdg"))
    >>> relaxed.provenance.generator, relaxed.counts()
    ('etkdg+mmff94s', {'OK': 3})
    """
    check_ensemble(ensemble, "relax")
    usable = np.flatnonzero(ensemble.ok)
    used: dict[str, Any]
    if isinstance(forcefield, str) and forcefield in RDKIT_FORCEFIELDS:
        name = forcefield
        used = {"forcefield": rdkit_forcefield(ensemble.graph, name), "rdkit": rdkit.__version__}
        relaxed = _minimize_in_rdkit(ensemble.graph, ensemble.positions[usable], used["forcefield"])
    else:
        source = system_source(forcefield)
        name = source.forcefield
        with ContextEnergy(source.build(ensemble.graph), platform, properties) as evaluation:
            used = source.settings(evaluation.system) | {"platform": evaluation.platform, "platform_properties": evaluation.properties}
            relaxed = minimize_positions(evaluation, ensemble.positions[usable])
    positions, status, energy = ensemble.positions.copy(), ensemble.status.copy(), np.full(len(ensemble), np.inf)
    positions[usable], energy[usable], status[usable] = relaxed
    good = usable[status[usable] == Status.OK]
    status[good] = check_conformations(ensemble.graph, positions[good])
    given = ensemble.provenance
    provenance = dataclasses.replace(given, generator=f"{given.generator}+{name}", settings=given.settings | {"relaxation": used})
    return ensemble.replace(positions=positions, energy=energy, status=status, log_q=None, provenance=provenance)


RDKIT_FORCEFIELDS = ("mmff94s", "mmff")
"""The force fields of `relax` that are RDKit's and not OpenMM's."""


def rdkit_forcefield(graph: MolecularGraph, name: str) -> str:
    """``"MMFF94s"`` or ``"UFF"``: the one of RDKit's that `name` (of `RDKIT_FORCEFIELDS`) stands for with this molecule.

    Raises
    ------
    ForceFieldError
        If it has no parameters for the molecule.
    """
    with rdBase.BlockLogs():
        if rdForceFieldHelpers.MMFFHasAllMoleculeParams(graph.mol):
            return "MMFF94s"
        if name == "mmff94s":
            raise ForceFieldError(f"MMFF94s has no parameters for {graph.name!r}; relax it with mmff (UFF then) or openff-2.2.1.")
        if rdForceFieldHelpers.UFFHasAllMoleculeParams(graph.mol):
            return "UFF"
    raise ForceFieldError(f"Neither MMFF94s nor UFF has parameters for {graph.name!r}; relax it with openff-2.2.1, or not at all.")


def _minimize_in_rdkit(graph: MolecularGraph, positions: NDArray[np.float64], forcefield: str) -> Minimized:
    """As `energies.minimize`, in MMFF94s or UFF."""
    if not len(positions):  # RDKit refuses a molecule without conformers
        return Minimized(positions, np.empty(0), np.empty(0, np.int8))
    mol = graph.to_rdkit(positions)
    with rdBase.BlockLogs():
        if forcefield == "MMFF94s":
            outcome = rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(mol, 0, MAX_MMFF_STEPS, forcefield)
        else:
            outcome = rdForceFieldHelpers.UFFOptimizeMoleculeConfs(mol, 0, MAX_MMFF_STEPS)
    frames = np.array([c.GetPositions() for c in mol.GetConformers()]).reshape(positions.shape) * NM_PER_ANGSTROM
    flags, energy = np.array([flag for flag, _ in outcome], int), np.array([kcal for _, kcal in outcome], float) * KJ_PER_KCAL
    finite = np.isfinite(frames).all(axis=(1, 2)) & np.isfinite(energy)
    broken = [(flags == _NOTHING_SET_UP, Status.FAILED), (~finite, Status.NON_FINITE), (flags != 0, Status.NOT_CONVERGED)]
    status = np.select([mask for mask, _ in broken], [np.int8(s) for _, s in broken], np.int8(Status.OK))
    kept = (status == Status.OK) | (status == Status.NOT_CONVERGED)
    return Minimized(np.where(kept[:, None, None], frames, positions), np.where(kept, energy, np.inf), status.astype(np.int8))

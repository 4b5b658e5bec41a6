"""The protocol of a reference ensemble, for one molecule after the other.

That of the QM9-xTB ensembles of this project: ETKDGv3 embeddings (Wang et al. 2020, doi:10.1021/acs.jcim.0c00025) and as many by plain
distance geometry, which knows nothing of torsions and rings, so that the reference is not biased to ETKDG -> MMFF94s (Halgren 1999,
doi:10.1002/(SICI)1096-987X(199905)20:7<720::AID-JCC7>3.0.CO;2-X) -> a small random displacement -> the nearest minimum at the level of
theory -> still the same molecule and stereoisomer -> within an energy window above the lowest -> mirror images join where they are the
same stereoisomer -> no duplicates.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
from typing import Any

import numpy as np
import rdkit
from numpy.typing import NDArray
from rdkit import rdBase

from ..energies import Level
from ..energies.relaxation import relax
from ..ensemble import Ensemble, Provenance
from ..errors import ConfGFError, ForceFieldError, GenerationError
from ..files.archive import ReferenceMolecule
from ..generators.embedding import DISTANCE_GEOMETRY, embedded, parameters
from ..generators.etkdg import embed_etkdg
from ..molecules.checks import check_conformations
from ..molecules.graph import MolecularGraph
from ..molecules.rmsd import DUPLICATE_ENERGY, DUPLICATE_RMSD, distinct_minima
from ..status import Status
from ..units import KJ_PER_KCAL, NM_PER_ANGSTROM
from ..version import __version__

FORCE_TOLERANCE = 1.0
"""Root mean square force component (kJ/mol/nm) at a force field's minima; the Reference platform's double precision gets there."""

DISPLACEMENT = 0.05 * NM_PER_ANGSTROM
"""Standard deviation (nm) of a random displacement of each coordinate of the starts. MMFF94s makes many nitrogens planar, and a minimiser
stays on the symmetric saddle point: without it, all 16 starts of CNc1nc[nH]c1N ended 27 kJ/mol above the minima; 0.02 Angstrom will do."""

_EMBEDDING_ATTEMPTS = 30
"""Tries per plain distance-geometry embedding."""


@dataclasses.dataclass(frozen=True)
class ReferenceProtocol:
    """The settings of a reference ensemble.

    Attributes
    ----------
    level : str
        As in `Level`: ``"gfn2"`` (GFN2-xTB, gas phase), ``"mmff94s"``, or a force field as in `create_system`.
    starts : int
        ETKDGv3 embeddings of each molecule; there are as many by plain distance geometry.
    window : float
        Minima higher than this above the lowest (kJ/mol) are dropped.
    max_kept : int or None
        The lowest so many are kept; None keeps all.
    seed : int
        Of the embeddings.

    Raises
    ------
    ConfGFError
        If a number is out of range.
    """

    level: str = "gfn2"
    starts: int = 20
    window: float = 6 * KJ_PER_KCAL
    max_kept: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.starts < 1 or self.seed < 0 or not self.window > 0 or (self.max_kept is not None and self.max_kept < 1):
            raise ConfGFError(
                f"starts {self.starts}, window {self.window} kJ/mol, at most {self.max_kept} kept and seed {self.seed} make no ensemble; "
                "the seed may be 0, the others must be positive."
            )


class ReferenceMaker:
    """A level of theory, made ready once, that makes the reference ensemble of one molecule after the other.

    Parameters
    ----------
    protocol : ReferenceProtocol

    Attributes
    ----------
    protocol : ReferenceProtocol
    provenance : dict
        The protocol and the versions of what decides the result, in JSON's types.

    Raises
    ------
    ForceFieldError
        If the level is unknown, or what it needs is not installed.
    """

    def __init__(self, protocol: ReferenceProtocol) -> None:
        self.protocol = protocol
        self._level = Level(protocol.level, platform="Reference", tolerance=FORCE_TOLERANCE)
        self.provenance: dict[str, Any] = {
            **dataclasses.asdict(protocol),
            "protocol": "ETKDGv3 + distance geometry, MMFF94s (UFF), displaced, minimised, checked, window, mirror images, distinct",
            "displacement_nm": DISPLACEMENT,
            "duplicate_rmsd_nm": DUPLICATE_RMSD,
            "duplicate_energy_kj_per_mol": DUPLICATE_ENERGY,
            "minimizer": self._level.minimizer,
            "openmm_confgf": __version__,
            "rdkit": rdkit.__version__,
        }

    def make(self, graph: MolecularGraph) -> ReferenceMolecule:
        """The reference ensemble of a molecule, lowest energy first.

        Stereo that is not specified is left to chance: the minima then are those of all stereoisomers that were met.

        Parameters
        ----------
        graph : MolecularGraph

        Returns
        -------
        ReferenceMolecule
            Positions (K, N, 3) in nm, and energies (K,) in kJ/mol above the lowest.

        Raises
        ------
        GenerationError
            If no start can be embedded, or none comes to a minimum of this molecule.
        ForceFieldError
            If the level has no parameters for the molecule.
        """
        starts = _starts(graph, self.protocol.starts, self.protocol.seed)
        positions, energy, status = self._level.minimize(graph, starts)
        reached = status == Status.OK
        status[reached] = check_conformations(graph, positions[reached])
        found = collections.Counter(Status(s).name for s in status)
        good = np.flatnonzero(status == Status.OK)
        if not len(good):
            counts = ", ".join(f"{number} {name}" for name, number in sorted(found.items()))
            raise GenerationError(
                f"none of {len(starts)} starts of {graph.name!r} comes to a minimum of it at {self.protocol.level} ({counts}); "
                "take more starts or another level, or check that it is stable in the gas phase."
            )
        good = good[energy[good] <= energy[good].min() + self.protocol.window]
        positions, energy = _with_mirror_images(graph, positions[good], energy[good])
        kept = distinct_minima(graph, positions, energy)[: self.protocol.max_kept]
        return ReferenceMolecule(graph.name, graph, positions[kept], energy[kept] - energy[kept[0]])


def reference_ensemble(graph: MolecularGraph, protocol: ReferenceProtocol = ReferenceProtocol()) -> ReferenceMolecule:
    """The reference ensemble of one molecule; for many of them, a `ReferenceMaker` makes the level ready once.

    Parameters
    ----------
    graph : MolecularGraph
    protocol : ReferenceProtocol

    Returns
    -------
    ReferenceMolecule
        As in `ReferenceMaker.make`.

    Raises
    ------
    GenerationError, ForceFieldError
        As in `ReferenceMaker` and its `make`.
    """
    return ReferenceMaker(protocol).make(graph)


def _with_mirror_images(
    graph: MolecularGraph, positions: NDArray[np.float64], energy: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The minima, and their mirror images where these have the specified stereo too: minima of the same energy, found or not."""
    mirrored = positions * [-1.0, 1.0, 1.0]
    also = check_conformations(graph, mirrored) == Status.OK
    return np.concatenate([positions, mirrored[also]]), np.concatenate([energy, energy[also]])


def _starts(graph: MolecularGraph, n: int, seed: int) -> NDArray[np.float64]:
    """Positions (K, N, 3) in nm of the embeddings, relaxed with MMFF94s or UFF where these have parameters, then shaken."""
    plain = _embed_plainly(graph, n, seed)
    try:
        embedded = np.concatenate([embed_etkdg(graph, n, seed).positions, plain])
    except GenerationError:
        if not len(plain):
            raise
        embedded = plain
    ensemble = Ensemble(graph, embedded, Provenance("starts", __version__, seed), check_conformations(graph, embedded))
    with contextlib.suppress(ForceFieldError):
        ensemble = relax(ensemble, "mmff")
    usable = ensemble.positions[np.isin(ensemble.status, [Status.OK, Status.NOT_CONVERGED])]
    return usable + np.random.default_rng((seed, 2)).normal(scale=DISPLACEMENT, size=usable.shape)


def _embed_plainly(graph: MolecularGraph, n: int, seed: int) -> NDArray[np.float64]:
    """Up to n embeddings (K, N, 3) in nm from the distance bounds alone, without knowledge of torsions and rings."""
    with rdBase.BlockLogs():
        try:
            return embedded(graph.mol, n, parameters((seed, 1), 0, _EMBEDDING_ATTEMPTS, **DISTANCE_GEOMETRY))
        except (RuntimeError, ValueError):  # RDKit refuses the molecule; ETKDG's own way may still find something
            return np.empty((0, len(graph), 3))

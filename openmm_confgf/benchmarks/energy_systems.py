"""The Systems of the benchmark of energies: from alanine dipeptide in vacuum to a small protein in implicit solvent."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..dynamics.thermal_frames import thermal_frames
from ..energies import create_system
from ..errors import ConfGFError, GenerationError
from ..generators import create_generator
from ..molecules.graph import MolecularGraph
from ..molecules.peptides import peptide

if TYPE_CHECKING:
    import openmm

DISTINCT_FRAMES = 32
"""Conformations of each System; batches repeat them."""

_ALANINE_DIPEPTIDE = ("ACE", "ALA", "NME")
_CITALOPRAM = "CN(C)CCC[C@]1(c2ccc(F)cc2)OCc2cc(C#N)ccc21"


@dataclasses.dataclass(frozen=True)
class EnergySystem:
    """What energies are measured on.

    Attributes
    ----------
    name, description : str
    system : openmm.System
    frames : ndarray of float64, (F, N, 3)
        Different conformations, nm.
    """

    name: str
    description: str
    system: openmm.System
    frames: NDArray[np.float64]

    @property
    def n_atoms(self) -> int:
        return int(self.frames.shape[1])

    def batch(self, count: int) -> NDArray[np.float64]:
        """The frames over and over again.

        Parameters
        ----------
        count : int

        Returns
        -------
        ndarray of float64, (count, N, 3)
            nm.
        """
        return np.resize(self.frames, (count, *self.frames.shape[1:]))


_SOURCES: dict[str, tuple[str, str, Callable[[], MolecularGraph]]] = {
    "ala2-vacuum": ("alanine dipeptide in vacuum", "amber14-all.xml", lambda: peptide(_ALANINE_DIPEPTIDE)),
    "ala2-obc2": ("alanine dipeptide in OBC2", "amber14-all.xml,implicit/obc2.xml", lambda: peptide(_ALANINE_DIPEPTIDE)),
    "ala2-gbsaobc": ("alanine dipeptide in OBC2", "amber99sbildn.xml,amber99_obc.xml", lambda: peptide(_ALANINE_DIPEPTIDE)),
    "citalopram": ("a drug in vacuum", "openff-2.2.1", lambda: MolecularGraph.from_smiles(_CITALOPRAM, "citalopram")),
    "tripeptide-obc2": (
        "ACE-ALA-LEU-SER-NME in OBC2",
        "amber14-all.xml,implicit/obc2.xml",
        lambda: peptide(("ACE", "ALA", "LEU", "SER", "NME")),
    ),
    "chignolin-gbn2": ("chignolin in GBn2", "amber14-all.xml,implicit/gbn2.xml", lambda: peptide("GYDPETGTWG")),
    "trp-cage-gbn2": ("Trp-cage in GBn2", "amber14-all.xml,implicit/gbn2.xml", lambda: peptide("NLYIQWLKDGGPSSGRPPPS")),
}

ENERGY_SYSTEMS = tuple(_SOURCES)
"""The names that `energy_system` knows, in the order of their sizes."""


def energy_system(name: str, seed: int = 0) -> EnergySystem:
    """One of `ENERGY_SYSTEMS`: built from its sequence or SMILES, embedded by ETKDG, and at 300 K after half a picosecond.

    The peptides are not folded, which changes no cost: nothing has a cutoff.

    Parameters
    ----------
    name : str
    seed : int
        Of the frames; at least 0.

    Returns
    -------
    EnergySystem
        With `DISTINCT_FRAMES` frames.

    Raises
    ------
    ConfGFError
        If there is no such System.
    GenerationError
        If the molecule cannot be embedded.
    ForceFieldError
        If a force field is not installed.
    """
    check_name(name)
    what, forcefield, make = _SOURCES[name]
    graph = make()
    embedded = create_generator("etkdg").sample(graph, 1, seed=seed)
    if not embedded.ok.all():
        raise GenerationError(f"{graph.name!r} cannot be embedded; take another seed.")
    system = create_system(graph, forcefield)
    return EnergySystem(name, f"{what}, {forcefield}", system, thermal_frames(system, embedded.positions[0], DISTINCT_FRAMES, seed))


def check_name(name: str) -> None:
    """Make sure that there is such a System.

    Parameters
    ----------
    name : str

    Raises
    ------
    ConfGFError
        If it is none of `ENERGY_SYSTEMS`.
    """
    if name not in _SOURCES:
        raise ConfGFError(f"There is no System {name!r} in the benchmark of energies; take one of {', '.join(ENERGY_SYSTEMS)}.")

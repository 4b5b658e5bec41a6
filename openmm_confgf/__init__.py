"""Molecular conformations from learned models, scored with real force fields and handed back to OpenMM.

Names are imported on first use, so that networks can be trained on a machine that has torch, but neither OpenMM nor RDKit.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .version import __version__

_EXPORTS = {
    "MolecularGraph": "molecules.graph",
    "Ensemble": "ensemble",
    "Provenance": "ensemble",
    "Status": "status",
    "ConfGFError": "errors",
    "check_conformations": "molecules.checks",
    "rmsd_matrix": "molecules.rmsd",
    "read_molecules": "files",
    "read_ensembles": "files",
    "write_ensembles": "files",
    "load_archive": "files.archive",
    "ConfGFGenerator": "generators",
    "ETKDGGenerator": "generators",
    "create_generator": "generators",
    "generate": "generators",
    "BatchedEnergy": "energies",
    "PackedEnergy": "energies",
    "ContextEnergy": "energies",
    "create_system": "energies",
    "relax": "energies.relaxation",
    "score": "energies.scoring",
    "reweight": "reweighting",
    "MDSettings": "dynamics.settings",
    "simulate": "simulation",
    "Seed": "openmm_plugin",
    "seed_simulations": "openmm_plugin",
    "HarvestReporter": "openmm_plugin",
    "benchmark_conformers": "benchmarks",
    "RunConfig": "training.config",
    "train": "training.recipe",
    "kT": "units",
}

__all__ = ["__version__", *_EXPORTS]

if TYPE_CHECKING:
    from .benchmarks import benchmark_conformers
    from .dynamics.settings import MDSettings
    from .energies import BatchedEnergy, ContextEnergy, PackedEnergy, create_system
    from .energies.relaxation import relax
    from .energies.scoring import score
    from .ensemble import Ensemble, Provenance
    from .errors import ConfGFError
    from .files import read_ensembles, read_molecules, write_ensembles
    from .files.archive import load_archive
    from .generators import ConfGFGenerator, ETKDGGenerator, create_generator, generate
    from .molecules.checks import check_conformations
    from .molecules.graph import MolecularGraph
    from .molecules.rmsd import rmsd_matrix
    from .openmm_plugin import HarvestReporter, Seed, seed_simulations
    from .reweighting import reweight
    from .simulation import simulate
    from .status import Status
    from .training.config import RunConfig
    from .training.recipe import train
    from .units import kT


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_EXPORTS[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])

"""What this installation can do: versions, OpenMM platforms and whether they agree, CUDA, and whether the weights are intact."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform as python_platform
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import torch
from numpy.typing import NDArray

from .checksums import sha256_of
from .energies import ContextEnergy
from .errors import MissingPackageError, WeightsError
from .models.weights import load_weights
from .status import Status
from .version import __version__

PACKAGES = (
    "openmm",
    "openmmforcefields",
    "openff-toolkit",
    "openff-nagl",
    "rdkit",
    "torch",
    "lightning",
    "safetensors",
    "mdtraj",
    "h5py",
    "numpy",
)
PRECISIONS = ("single", "mixed", "double")
"""Values of the property Precision of the platforms that have it."""

TOLERANCE = {"single": 1e-4, "mixed": 1e-4, "double": 1e-8, None: 1e-4}
"""Largest difference from Reference that counts as agreement: of energies relative to the sum of the magnitudes of the forces' energies, of
forces relative to the largest component."""


@dataclasses.dataclass(frozen=True)
class PlatformReport:
    """One platform at one precision.

    Attributes
    ----------
    platform : str
    precision : str or None
        None where the platform has no such property.
    energy : float
        Of the built-in System in kJ/mol; NaN where it failed.
    deviation, force_deviation : float
        Largest difference from Reference in kJ/mol and kJ/mol/nm.
    agrees : bool
    error : str or None
        Why the platform cannot be used.
    """

    platform: str
    precision: str | None
    energy: float
    deviation: float
    force_deviation: float
    agrees: bool
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class WeightsReport:
    """One file of weights, or a card without one.

    Attributes
    ----------
    name : str
        Of the file, without its suffix.
    sha256 : str or None
        Its checksum; None where there is a card only.
    error : str or None
        What is wrong with it; None where it is as on its card.
    target : str or None
        The force field and the temperature that its card names, in words.
    missing : str or None
        The package of an extra that its network needs and that is not installed.
    """

    name: str
    sha256: str | None
    error: str | None
    target: str | None = None
    missing: str | None = None


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """Result of `diagnose`.

    Attributes
    ----------
    versions : dict of str to (str or None)
        Of Python, this package and `PACKAGES`; None where one is not installed.
    platforms : list of PlatformReport
    plugin_failures : list of str
        Why OpenMM could not load some of its plug-ins.
    torch_cuda : bool
        Whether torch finds a CUDA device.
    weights : list of WeightsReport
    """

    versions: dict[str, str | None]
    platforms: list[PlatformReport]
    plugin_failures: list[str]
    torch_cuda: bool
    weights: list[WeightsReport]

    @property
    def openmm_cuda(self) -> bool:
        """Whether OpenMM's CUDA platform works at any precision."""
        return any(p.platform == "CUDA" and p.agrees for p in self.platforms)

    def problems(self) -> list[str]:
        """What keeps the package from working; a platform that cannot start is none as long as another one does."""
        found = [f"platform {p.platform} ({p.precision}) disagrees with Reference" for p in self.platforms if not (p.agrees or p.error)]
        if not any(p.agrees for p in self.platforms):
            found.append("no OpenMM platform works")
        found += [f"weights {w.name}: {w.error}" for w in self.weights if w.error]
        found += [f"{name} is not installed" for name, version in self.versions.items() if version is None]
        return found

    def to_dict(self) -> dict[str, Any]:
        """Everything in JSON's types."""
        return {
            "command": "doctor",
            "versions": self.versions,
            "platforms": [dataclasses.asdict(p) for p in self.platforms],
            "plugin_failures": self.plugin_failures,
            "cuda": {"torch": self.torch_cuda, "openmm": self.openmm_cuda},
            "weights": [dataclasses.asdict(w) for w in self.weights],
            "problems": self.problems(),
        }


def diagnose(weights: str | Path | None = None) -> Diagnosis:
    """Look at the installation: versions, platforms, CUDA and weights.

    Parameters
    ----------
    weights : str or Path, optional
        Folder of network weights; default: those of the package.

    Returns
    -------
    Diagnosis

    Raises
    ------
    FileFormatError
        If a file of weights cannot be read.
    """
    folder = Path(__file__).parent / "weights" if weights is None else Path(weights)
    return Diagnosis(
        versions={
            "python": python_platform.python_version(),
            "openmm_confgf": __version__,
            **{name: installed_version(name) for name in PACKAGES},
        },
        platforms=compare_platforms(),
        plugin_failures=list(openmm.Platform.getPluginLoadFailures()),
        torch_cuda=torch.cuda.is_available(),
        weights=check_weights(folder),
    )


def installed_version(name: str) -> str | None:
    """Version of a distribution, or of the one under which OpenFF packages are found for pip; None where there is neither.

    Parameters
    ----------
    name : str
        Of the distribution, as on conda-forge: ``"openff-toolkit"``.
    """
    for candidate in (name, f"acellera-{name}"):
        try:
            return importlib.metadata.version(candidate)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def check_weights(folder: Path) -> list[WeightsReport]:
    """Load every network of a folder as a generator would: its sha256 must be its card's, and it must fit the card's architecture.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of WeightsReport
        In alphabetical order; a card without weights has one, too.

    Raises
    ------
    FileFormatError
        If a file of weights cannot be read.
    """
    reports = []
    for stem in sorted({path.stem for path in folder.glob("*.safetensors")} | {path.stem for path in folder.glob("*.json")}):
        tensors = folder / f"{stem}.safetensors"
        sha256 = sha256_of(tensors) if tensors.exists() else None
        try:
            target = load_weights(tensors)[1].target
            reports.append(WeightsReport(stem, sha256, None, None if target is None else str(target)))
        except MissingPackageError as error:
            reports.append(WeightsReport(stem, sha256, None, missing=error.package))
        except WeightsError as error:
            reports.append(WeightsReport(stem, sha256, str(error)))
    return reports


def compare_platforms() -> list[PlatformReport]:
    """Energy and forces of the built-in System on each platform and precision of this installation, beside Reference."""
    system, positions = small_system()
    reference = ContextEnergy(system, platform="Reference").evaluate(positions[None], forces=True)
    scale = _sum_of_magnitudes(system, positions)
    reports = []
    for index in range(openmm.Platform.getNumPlatforms()):
        platform = openmm.Platform.getPlatform(index)
        for precision in PRECISIONS if "Precision" in platform.getPropertyNames() else (None,):
            name, properties = platform.getName(), {"Precision": precision} if precision else None
            try:
                found = ContextEnergy(system, platform=name, properties=properties).evaluate(positions[None], forces=True)
            except Exception as error:  # a driver that is too old, no device ...: whatever it is, it is what this table is for
                reports.append(PlatformReport(name, precision, np.nan, np.nan, np.nan, False, str(error).splitlines()[0]))
                continue
            if found.forces is None or reference.forces is None or found.status[0] != Status.OK:
                reports.append(PlatformReport(name, precision, np.nan, np.nan, np.nan, False, Status(found.status[0]).name))
                continue
            deviation = float(abs(found.energy[0] - reference.energy[0]))
            force_deviation = float(np.abs(found.forces - reference.forces).max())
            force_scale = float(np.abs(reference.forces).max())
            agrees = deviation <= TOLERANCE[precision] * scale and force_deviation <= TOLERANCE[precision] * force_scale
            reports.append(PlatformReport(name, precision, float(found.energy[0]), deviation, force_deviation, agrees))
    return reports


def small_system() -> tuple[openmm.System, NDArray[np.float64]]:
    """A System of 24 particles with every kind of force that a molecule's System has, and positions in nm, (24, 3).

    A helix of charged particles with bonds, angles, torsions, nonbonded interactions with exceptions, and implicit solvent; the numbers
    are of the size that force fields have.
    """
    n = 24
    turn = np.arange(n) * np.deg2rad(100.0)
    positions = np.stack([0.15 * np.cos(turn), 0.15 * np.sin(turn), 0.06 * np.arange(n)], axis=1)
    system = openmm.System()
    bonds, angles, torsions = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce(), openmm.PeriodicTorsionForce()
    nonbonded, solvent = openmm.NonbondedForce(), openmm.GBSAOBCForce()
    for i in range(n):
        charge = 0.3 * (-1) ** i
        system.addParticle(12.0)
        nonbonded.addParticle(charge, 0.2, 0.4)
        solvent.addParticle(charge, 0.15, 0.8)
    for i in range(n - 1):
        bonds.addBond(i, i + 1, 0.23, 2e5)
    for i in range(n - 2):
        angles.addAngle(i, i + 1, i + 2, 1.7, 400.0)
    for i in range(n - 3):
        torsions.addTorsion(i, i + 1, i + 2, i + 3, 1 + i % 3, 0.5, 5.0)
    nonbonded.createExceptionsFromBonds([(i, i + 1) for i in range(n - 1)], 0.8333, 0.5)
    for force in (bonds, angles, torsions, nonbonded, solvent):
        system.addForce(force)
    return system, positions


def _sum_of_magnitudes(system: openmm.System, positions: NDArray[np.float64]) -> float:
    """Sum over the forces of the absolute value of each one's energy, in kJ/mol: the scale of rounding errors."""
    copy = openmm.XmlSerializer.clone(system)
    for group, force in enumerate(copy.getForces()):
        force.setForceGroup(group)
    context = openmm.Context(copy, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    energies = [context.getState(getEnergy=True, groups={group}).getPotentialEnergy() for group in range(copy.getNumForces())]
    return float(sum(abs(energy.value_in_unit(openmm.unit.kilojoule_per_mole)) for energy in energies))

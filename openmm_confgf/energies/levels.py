"""Level: a level of theory under its name, or under whatever can make a System, for one molecule after the other."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
from collections.abc import Mapping
from typing import Any, Protocol

import rdkit

from ..ensemble import Target
from ..errors import ConfGFError, ForceFieldError
from ..molecule_like import MoleculeLike, as_graph
from ..molecules.graph import MolecularGraph
from .context import ContextEnergy
from .interface import Energy, EnergyResult
from .minimize import FORCE_TOLERANCE, Minimized, minimize
from .mmff import MMFFEnergy
from .systems.forcefields import WITHOUT_SYSTEM
from .systems.source import ForceFieldLike, SystemSource, system_source
from .xtb.gfn2 import GFN2Energy, require_tblite
from .xtb.minimize import minimize_gfn2, optimizer_version, resolve_optimizer


class Level:
    """A level of theory, made ready once: energies and minima of one molecule after the other.

    Parameters
    ----------
    level : str, SystemBuilder, openmm.System, ForceField, SystemGenerator or callable
        ``"mmff94s"`` (RDKit's), ``"mmff"`` (the same, and UFF for molecules that MMFF94s has no parameters for), ``"gfn2"`` (GFN2-xTB in
        the gas phase; energies by tblite, minima by the program xtb where there is one), or as in `system_source`: a force field's name
        as in `create_system`, a System of your own ...
    platform, properties
        Of OpenMM, as in `ContextEnergy`; MMFF94s, UFF and GFN2-xTB run on the CPU whatever they say.
    tolerance : float or Quantity
        Of OpenMM's minima, kJ/mol/nm, as in `minimize`; RDKit and xtb have their own.

    Attributes
    ----------
    name : str
        What it is called in tables and in `Provenance`.

    Raises
    ------
    WrongTypeError
        If it is none of these.
    ForceFieldError
        If the name is unknown, or what it needs is not installed.

    Examples
    --------
    Gauche butane is 3.3 kJ/mol (0.78 kcal/mol) above anti butane in MMFF94:

    >>> from openmm_confgf import generate
    >>> butane = generate("CCCC", 20, generator="etkdg")
    >>> found = Level("mmff94s").minimize("CCCC", butane.positions)
    >>> round(float(found.energy.max() - found.energy.min()), 1)
    3.3
    """

    def __init__(
        self,
        level: ForceFieldLike,
        *,
        platform: str = "auto",
        properties: Mapping[str, Any] | None = None,
        tolerance: Any = FORCE_TOLERANCE,
    ) -> None:
        self._theory = _theory(level, platform, properties, tolerance)
        self.name: str = self._theory.name

    @property
    def minimizer(self) -> dict[str, str]:
        """The ``program`` that finds minima, and its ``version``."""
        return self._theory.minimizer

    def check_energies(self) -> None:
        """Refuse a level that has minima here but no energies of conformations as they are.

        Raises
        ------
        ForceFieldError
            If what these need is not installed: GFN2-xTB needs tblite for them, whether there is a program xtb or not.
        """
        self._theory.check_energies()

    def energy(self, molecule: MoleculeLike) -> Energy:
        """What evaluates conformations of one molecule.

        Parameters
        ----------
        molecule : MolecularGraph or whatever `as_graph` takes

        Returns
        -------
        Energy
            A `ContextEnergy` of a force field of OpenMM's, which is closed as any other, an `MMFFEnergy`, or a `GFN2Energy`.

        Raises
        ------
        ForceFieldError
            If the level has no parameters for the molecule, or there are no energies (`check_energies`).
        PlatformError
            If the platform is not available.
        """
        return self._theory.energy(as_graph(molecule))

    def target(self, molecule: MoleculeLike, temperature: float | None = None) -> Target:
        """What energies of a molecule at this level are of. Errors are those of `energy`.

        Parameters
        ----------
        molecule : MolecularGraph or whatever `as_graph` takes
        temperature : float or Quantity, optional
            K, at which they are to be weighed; None for minima.
        """
        return target_of(self.evaluation(as_graph(molecule), [])[1], temperature)

    def minimize(self, molecule: MoleculeLike, positions: Any) -> Minimized:
        """Bring each conformation of a molecule to its nearest minimum. A bad one never affects another.

        Parameters
        ----------
        molecule : MolecularGraph or whatever `as_graph` takes
        positions : array_like or Quantity, (B, N, 3) or (N, 3)
            nm, in the molecule's atom order.

        Returns
        -------
        Minimized
            Energies in kJ/mol.

        Raises
        ------
        ForceFieldError, PlatformError
            As in `energy`; GFN2-xTB needs no tblite where there is the program xtb.
        ValueError
            If N is not the molecule's number of atoms.
        """
        return self.relaxation(as_graph(molecule), positions)[0]

    def evaluation(self, graph: MolecularGraph, positions: Any) -> tuple[EnergyResult, dict[str, Any]]:
        """Energies of conformations, and how they were computed. Errors are those of `energy`.

        Parameters
        ----------
        graph : MolecularGraph
        positions : array_like or Quantity, (B, N, 3) or (N, 3)
            nm, in the graph's atom order.

        Returns
        -------
        result : EnergyResult
        settings : dict
            What `Provenance.settings` says: ``"forcefield"``, where there is a System ``"system_sha256"``, versions, platform.
        """
        return self._theory.evaluation(graph, positions)

    def relaxation(self, graph: MolecularGraph, positions: Any) -> tuple[Minimized, dict[str, Any]]:
        """Minima of conformations, and how they were found. Errors are those of `minimize`.

        Parameters
        ----------
        graph : MolecularGraph
        positions : array_like or Quantity, (B, N, 3) or (N, 3)
            nm, in the graph's atom order.

        Returns
        -------
        minima : Minimized
        settings : dict
            As in `evaluation`.
        """
        return self._theory.relaxation(graph, positions)


LevelLike = Level | ForceFieldLike
"""What `level_of` takes."""


def level_of(level: LevelLike, platform: str = "auto", properties: Mapping[str, Any] | None = None) -> Level:
    """A `Level` as it is, and whatever else stands for one as a Level.

    Parameters
    ----------
    level : Level, or whatever `Level` takes
    platform, properties
        As in `Level`.

    Raises
    ------
    ConfGFError
        If a platform is given beside a Level, which has one.
    WrongTypeError, ForceFieldError
        As in `Level`.
    """
    if not isinstance(level, Level):
        return Level(level, platform=platform, properties=properties)
    if platform != "auto" or properties:
        raise ConfGFError(f"The Level {level.name} has its platform already; give platform and properties where the Level is made.")
    return level


def target_of(settings: Mapping[str, Any], temperature: float | None = None) -> Target:
    """What energies are of that were computed so.

    Parameters
    ----------
    settings : mapping
        As `Level.evaluation` returns them.
    temperature : float or Quantity, optional
        K.
    """
    return Target(settings["forcefield"], settings.get("system_sha256"), temperature)


class _Theory(Protocol):
    """What is behind a Level; see there."""

    @property
    def name(self) -> str: ...
    @property
    def minimizer(self) -> dict[str, str]: ...
    def check_energies(self) -> None: ...
    def energy(self, graph: MolecularGraph) -> Energy: ...
    def evaluation(self, graph: MolecularGraph, positions: Any) -> tuple[EnergyResult, dict[str, Any]]: ...
    def relaxation(self, graph: MolecularGraph, positions: Any) -> tuple[Minimized, dict[str, Any]]: ...


def _theory(level: ForceFieldLike, platform: str, properties: Mapping[str, Any] | None, tolerance: Any) -> _Theory:
    if isinstance(level, str):
        spelt = level.lower().removesuffix("-xtb")
        if spelt in WITHOUT_SYSTEM and level != spelt:
            raise ForceFieldError(f"There is no level of theory {level!r}; take {spelt}.")
        if level == "gfn2":
            return _GFN2(resolve_optimizer())
        if level in WITHOUT_SYSTEM:
            return _MMFF(level)
    return _ForceField(system_source(level), platform, properties, tolerance)


@dataclasses.dataclass(frozen=True)
class _ForceField:
    """A force field of OpenMM's."""

    source: SystemSource
    platform: str
    properties: Mapping[str, Any] | None
    tolerance: Any

    @property
    def name(self) -> str:
        return self.source.forcefield

    @property
    def minimizer(self) -> dict[str, str]:
        return {"program": "openmm", "version": importlib.metadata.version("openmm")}

    def check_energies(self) -> None:
        """Who has minima has energies."""

    def energy(self, graph: MolecularGraph) -> ContextEnergy:
        return ContextEnergy(self.source.build(graph), self.platform, self.properties)

    def evaluation(self, graph: MolecularGraph, positions: Any) -> tuple[EnergyResult, dict[str, Any]]:
        with self.energy(graph) as energy:
            return energy.evaluate(positions), self._settings(energy)

    def relaxation(self, graph: MolecularGraph, positions: Any) -> tuple[Minimized, dict[str, Any]]:
        with self.energy(graph) as energy:
            return minimize(energy, positions, self.tolerance), self._settings(energy)

    def _settings(self, energy: ContextEnergy) -> dict[str, Any]:
        return self.source.settings(energy.system) | {"platform": energy.platform, "platform_properties": energy.properties}


@dataclasses.dataclass(frozen=True)
class _MMFF:
    """MMFF94s, with UFF beside it where the name is ``"mmff"``."""

    name: str

    @property
    def minimizer(self) -> dict[str, str]:
        return {"program": "rdkit", "version": rdkit.__version__}

    def check_energies(self) -> None:
        """Who has minima has energies."""

    def energy(self, graph: MolecularGraph) -> MMFFEnergy:
        return MMFFEnergy(graph, or_uff=self.name == "mmff")

    def evaluation(self, graph: MolecularGraph, positions: Any) -> tuple[EnergyResult, dict[str, Any]]:
        energy = self.energy(graph)
        return energy.evaluate(positions), self._settings(energy)

    def relaxation(self, graph: MolecularGraph, positions: Any) -> tuple[Minimized, dict[str, Any]]:
        energy = self.energy(graph)
        return energy.minimize(positions), self._settings(energy)

    def _settings(self, energy: MMFFEnergy) -> dict[str, Any]:
        return {"forcefield": energy.forcefield, "rdkit": rdkit.__version__}


@dataclasses.dataclass(frozen=True)
class _GFN2:
    """GFN2-xTB; minima by an optimiser that is known to be installed."""

    optimizer: str
    name: str = "gfn2"

    @functools.cached_property
    def minimizer(self) -> dict[str, str]:
        return {"program": self.optimizer, "version": optimizer_version(self.optimizer)}

    def check_energies(self) -> None:
        require_tblite()

    def energy(self, graph: MolecularGraph) -> GFN2Energy:
        return GFN2Energy(graph)

    def evaluation(self, graph: MolecularGraph, positions: Any) -> tuple[EnergyResult, dict[str, Any]]:
        program = {"program": "tblite", "version": optimizer_version("tblite")}
        return self.energy(graph).evaluate(positions), {"forcefield": "GFN2-xTB", **program}

    def relaxation(self, graph: MolecularGraph, positions: Any) -> tuple[Minimized, dict[str, Any]]:
        return minimize_gfn2(graph, positions, self.optimizer), {"forcefield": "GFN2-xTB", **self.minimizer}

"""What generators of equilibrium samples have in common: weights that name their target, and the energies of that target."""

from __future__ import annotations

import abc
import dataclasses
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem
from torch import nn

from ..energies import BatchedEnergy, ContextEnergy, Energy, ForceFieldLike, Level, LevelLike, SystemSource, level_of, system_source
from ..ensemble import Target
from ..errors import ConfGFError
from ..molecules.graph import MolecularGraph
from ..units import in_md_units
from .density import DensityGenerator, Draws
from .network.loaded import LoadedNetwork


@dataclasses.dataclass(frozen=True)
class TargetEnergy:
    """The Boltzmann distribution of one molecule that is to be sampled.

    Attributes
    ----------
    system : openmm.System
        Of the molecule in the force field.
    energy : Energy
        Of the target, in float64.
    target : Target
    charges : str or None
        Where the System's charges come from.
    """

    system: Any
    energy: Energy
    target: Target
    charges: str | None

    @classmethod
    def of(
        cls, graph: MolecularGraph, source: SystemSource, temperature: float, device: torch.device | str = "cpu", level: Level | None = None
    ) -> TargetEnergy:
        """Build the System, and what evaluates the target.

        Parameters
        ----------
        graph : MolecularGraph
        source : SystemSource
        temperature : float
            K.
        device : torch.device or str
            Of batched energies.
        level : Level, optional
            Whose energies the target has; default: those of the System, in batches.

        Raises
        ------
        ForceFieldError, UnsupportedForceError
            If there is no System, or it has constraints or forces that cannot be batched; or the level has no energies of the molecule.
        """
        system = source.build(graph)
        # it refuses constraints and the like, whoever evaluates the target
        energy: Energy = BatchedEnergy(system, device=str(device), for_reweighting=True)
        target = source.target(system, temperature)
        if level is not None:
            energy, target = level.energy(graph), level.target(graph, temperature)
            if isinstance(energy, ContextEnergy):
                energy = BatchedEnergy(energy.system, device=str(device), for_reweighting=True)
        return cls(system, energy, target, source.charges)


class Prepared(Protocol):
    """A molecule made ready for a kind of network."""

    @property
    def graph(self) -> MolecularGraph:
        """The molecule, of N atoms."""

    def log_density(self, network: Any, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log q on the mean-free subspace, (B,), of finite positions (B, N, 3) in nm."""


NetworkT = TypeVar("NetworkT", bound=nn.Module)
PreparedT = TypeVar("PreparedT", bound=Prepared)


class EquilibriumGenerator(DensityGenerator, Generic[NetworkT, PreparedT]):
    """Samples near a Boltzmann distribution that the weights of a network name, with their energies.

    Subclasses say what their network is, and how a molecule is prepared and drawn.

    Parameters
    ----------
    forcefield : str, SystemBuilder, openmm.System, ForceField, SystemGenerator or callable, optional
        As in `system_source`, without constraints. Default: that of the weights.
    temperature : float or Quantity, optional
        K. Default: that of the weights.
    weights : str or Path
        The name of shipped ones, or a ``.safetensors`` file with its card beside it.
    level : Level, or whatever `Level` takes, optional
        Whose energies are sampled, where they are not the force field's: ``"gfn2"``. The network still reads what it reads of the force
        field. Default: that of the weights where no force field is given, else the force field.

    Raises
    ------
    WeightsError
        If the weights cannot be used, or are those of another network.
    WrongTypeError, ForceFieldError
        As in `system_source` and `Level`.
    ConfGFError
        If neither the call nor the card names a force field and a temperature, or the latter is not positive.
    """

    network_type: ClassVar[type[nn.Module]]

    def __init__(
        self, forcefield: ForceFieldLike | None = None, temperature: Any = None, weights: str | Path = "", level: LevelLike | None = None
    ) -> None:
        self.loaded = LoadedNetwork.load(weights, self.network_type, self.name)
        card = self.loaded.card
        if card.target is None and (forcefield is None or temperature is None):
            raise ConfGFError(f"The weights {weights} name no force field and temperature; give both.")
        if forcefield is None:
            assert card.target is not None
            forcefield = card.target.inputs or card.target.forcefield
            if level is None and card.target.inputs is not None:
                level = card.target.forcefield
        self.temperature = float(card.target.temperature if temperature is None and card.target else in_md_units(temperature))
        if not 0 < self.temperature < math.inf:
            raise ConfGFError(f"The temperature is {self.temperature:g} K; give a finite one above 0 K.")
        self.source, self.weights_sha256 = system_source(forcefield), card.sha256
        self.level = None if level is None else level_of(level)
        if self.level is not None:
            self.level.check_energies()
        self._last: tuple[torch.device, PreparedT] | None = None

    @property
    def network(self) -> NetworkT:
        """In evaluation mode."""
        return cast(NetworkT, self.loaded.net)

    def trained_on(self, graph: MolecularGraph) -> bool:
        """As `Generator.trained_on`.

        Parameters
        ----------
        graph : MolecularGraph
        """
        return self.loaded.trained_on(graph)

    def prepare(self, graph: MolecularGraph, device: torch.device | str = "cpu") -> PreparedT:
        """The molecule and its target; the last one is kept.

        Parameters
        ----------
        graph : MolecularGraph
        device : torch.device or str

        Raises
        ------
        UnsupportedMoleculeError, ForceFieldError, UnsupportedForceError
            If the network cannot take the molecule, or as in `TargetEnergy.of`.
        """
        where = torch.device(device)
        if self._last is None or self._last[0] != where or not self._last[1].graph.same_as(graph):
            self._last = where, self._prepared(graph, where)
        return self._last[1]

    @abc.abstractmethod
    def _prepared(self, graph: MolecularGraph, device: torch.device) -> PreparedT:
        """The molecule and its target, made ready."""

    @abc.abstractmethod
    def _draw(self, prepared: PreparedT, network: NetworkT, count: int, seed: int) -> Draws:
        """Samples of one molecule, with energies; sample k depends on the molecule, the seed and k alone."""

    def _log_density(self, graph: MolecularGraph, positions: NDArray[np.float64], device: torch.device) -> NDArray[np.float64]:
        return self.prepare(graph, device).log_density(self.network.to(device), positions)

    def _draw_many(
        self, molecules: Sequence[MolecularGraph], counts: Sequence[int], seed: int, device: torch.device
    ) -> Iterator[tuple[int, Draws | ConfGFError]]:
        for index, (graph, count) in enumerate(zip(molecules, counts, strict=True)):
            try:
                prepared = self.prepare(graph, device)
                self._warn_of_domain(graph)
                draws = self._draw(prepared, self.network.to(device), count, seed)
            except ConfGFError as error:
                yield index, error
                continue
            yield index, draws

    def _warn_of_domain(self, graph: MolecularGraph) -> None:
        """Weights of what is unlike the card stay exact, and may be worthless: their diagnostics tell."""
        card = self.loaded.card
        symbol = Chem.GetPeriodicTable().GetElementSymbol
        beyond = [symbol(z) for z in sorted(set(graph.numbers.tolist()) - set(card.elements))]
        if not card.min_atoms <= len(graph) <= card.max_atoms:
            beyond.append(f"{len(graph)} atoms")
        sampled = self.source.forcefield if self.level is None else self.level.name
        if card.target is not None and (sampled, self.temperature) != (card.target.forcefield, card.target.temperature):
            beyond.append(f"{sampled} at {self.temperature:g} K")
        if beyond:
            known = f"{', '.join(map(symbol, card.elements))}, {card.min_atoms} to {card.max_atoms} atoms, {card.target or 'no target'}"
            warnings.warn(
                f"{graph.name!r} has {', '.join(beyond)}, and the weights {card.name!r} know {known}: look at the effective sample size, "
                "and train on this molecule where it is low.",
                stacklevel=2,
            )

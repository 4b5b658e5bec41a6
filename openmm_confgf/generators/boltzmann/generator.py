"""BoltzmannGenerator: equilibrium samples with an exact density in one pass of a network."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem

from ...energies import ForceFieldLike, LevelLike, level_of, system_source
from ...errors import ConfGFError
from ...models.autoregressive import AutoregressiveDensity
from ...molecules.graph import MolecularGraph
from ...thermodynamics.diagnostics import diagnose
from ...thermodynamics.log_weights import log_weights
from ...units import in_md_units
from ..density import DensityGenerator, Draws
from ..network.loaded import LoadedNetwork
from .prepared import PreparedMolecule


class BoltzmannGenerator(DensityGenerator):
    """Samples near a Boltzmann distribution, with their energies and exact densities (``"boltzmann"``).

    Atoms are placed one after the other by an `AutoregressiveDensity`, whose density is evaluated in one pass. Weights
    ``exp(-E / kT - log_q)`` make averages exact; their effective sample size and k-hat (`reweight`) tell how near the network came. What
    it gives no density to, weights cannot bring back: a molecule or force field unlike those of its card needs training of its own.

    Parameters
    ----------
    forcefield : str, SystemBuilder, openmm.System, ForceField, SystemGenerator or callable, optional
        As in `system_source`, without constraints. Default: that of the weights.
    temperature : float or Quantity, optional
        K. Default: that of the weights.
    weights : str or Path
        The name of shipped ones, or a ``.safetensors`` file with its card beside it.
    level : Level, or whatever `Level` takes, optional
        Whose energies are sampled, where they are not the force field's: ``"gfn2"``. The network still reads the force field's parameters.
        Default: that of the weights where no force field is given, else the force field.

    Raises
    ------
    WeightsError
        If the weights cannot be used, or are those of another network.
    WrongTypeError, ForceFieldError
        As in `system_source` and `Level`.
    ConfGFError
        If neither the call nor the card names a force field and a temperature, or the latter is not positive.
    """

    name = "boltzmann"

    def __init__(
        self,
        forcefield: ForceFieldLike | None = None,
        temperature: Any = None,
        weights: str | Path = "boltzmann",
        level: LevelLike | None = None,
    ) -> None:
        self.loaded = LoadedNetwork.load(weights, AutoregressiveDensity, self.name)
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
        self._last: PreparedMolecule | None = None

    @property
    def network(self) -> AutoregressiveDensity:
        """In evaluation mode."""
        assert isinstance(self.loaded.net, AutoregressiveDensity)
        return self.loaded.net

    def calls(self, graph: MolecularGraph) -> int:
        """One for each atom but the first, and one for the density.

        Parameters
        ----------
        graph : MolecularGraph
        """
        return len(graph)

    def trained_on(self, graph: MolecularGraph) -> bool:
        """As `Generator.trained_on`.

        Parameters
        ----------
        graph : MolecularGraph
        """
        return self.loaded.trained_on(graph)

    def prepare(self, graph: MolecularGraph, device: torch.device | str = "cpu") -> PreparedMolecule:
        """The molecule in this force field; the last one is kept.

        Parameters
        ----------
        graph : MolecularGraph
        device : torch.device or str

        Raises
        ------
        UnsupportedMoleculeError, ForceFieldError, UnsupportedForceError
            As in `PreparedMolecule.of`.
        """
        if self._last is None or not self._last.graph.same_as(graph) or self._last.device != torch.device(device):
            self._last = PreparedMolecule.of(graph, self.source, self.temperature, device, self.level)
        return self._last

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

    def _draw_many(
        self, molecules: Sequence[MolecularGraph], counts: Sequence[int], seed: int, device: torch.device
    ) -> Iterator[tuple[int, Draws | ConfGFError]]:
        network = self.network.to(device)
        for index, (graph, count) in enumerate(zip(molecules, counts, strict=True)):
            try:
                prepared = self.prepare(graph, device)
                self._warn_of_domain(graph)
            except ConfGFError as error:
                yield index, error
                continue
            positions = prepared.draw(network, seed, 0, count)
            positions -= positions.mean(axis=1, keepdims=True)
            log_q = prepared.log_density(network, positions)
            energy = prepared.energy.evaluate(positions).energy
            yield index, Draws(positions, log_q, {"charges": prepared.charges}, prepared.target, energy, self._worth(log_q, energy))

    def _worth(self, log_q: NDArray[np.float64], energy: NDArray[np.float64]) -> dict[str, Any]:
        if not np.isfinite(energy).any():
            return {}
        found = diagnose(log_weights(log_q, energy, np.zeros(len(energy)), self.temperature))
        return {"ess_fraction": found.ess_fraction, "k_hat": found.k_hat, "trusted": found.trusted}

    def _log_density(self, graph: MolecularGraph, positions: NDArray[np.float64], device: torch.device) -> NDArray[np.float64]:
        return self.prepare(graph, device).log_density(self.network.to(device), positions)

"""BoltzmannGenerator: equilibrium samples with an exact density in one pass of a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ...energies import ForceFieldLike, LevelLike
from ...models.autoregressive import AutoregressiveDensity
from ...molecules.graph import MolecularGraph
from ..density import Draws
from ..equilibrium import EquilibriumGenerator
from .prepared import PreparedMolecule


class BoltzmannGenerator(EquilibriumGenerator[AutoregressiveDensity, PreparedMolecule]):
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
    network_type = AutoregressiveDensity

    def __init__(
        self,
        forcefield: ForceFieldLike | None = None,
        temperature: Any = None,
        weights: str | Path = "boltzmann",
        level: LevelLike | None = None,
    ) -> None:
        super().__init__(forcefield, temperature, weights, level)

    def calls(self, graph: MolecularGraph) -> int:
        """One for each atom but the first.

        Parameters
        ----------
        graph : MolecularGraph
        """
        return len(graph) - 1

    def _prepared(self, graph: MolecularGraph, device: torch.device) -> PreparedMolecule:
        return PreparedMolecule.of(graph, self.source, self.temperature, device, self.level)

    def _draw(self, prepared: PreparedMolecule, network: AutoregressiveDensity, count: int, seed: int) -> Draws:
        positions, log_q = prepared.draw(network, seed, 0, count)
        positions -= positions.mean(axis=1, keepdims=True)
        energy = prepared.energy.evaluate(positions).energy
        return Draws(positions, log_q, {"charges": prepared.charges}, prepared.target, energy)

"""TBGGenerator: transferable Boltzmann generators, equivariant flows of all atoms at once with exact densities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ...energies import ForceFieldLike, LevelLike
from ...errors import UnsupportedMoleculeError, WeightsError
from ...models.continuous_flow import ContinuousFlow
from ...models.egnn import EGNN
from ...models.ode import AdaptiveSteps, Integrator
from ...molecules.graph import MolecularGraph
from ..density import Draws
from ..equilibrium import EquilibriumGenerator, TargetEnergy
from .flow_molecule import FlowMolecule


class TBGGenerator(EquilibriumGenerator[EGNN, FlowMolecule]):
    """Samples near a Boltzmann distribution by a flow of all atoms at once, as published (``"tbg"``; Klein & Noe 2024).

    An `EGNN` carries noise to molecules; log q is the integral of its exact divergence (`ContinuousFlow`). The flow tells atoms of one type
    from each other as little as a molecule from its mirror image: samples are put in the molecule's order and reflected to its hand
    (`filter_samples`), and log q is the density of what comes out. Broken molecules stay as they were drawn, with their density and the
    energy that they have. Other stereoisomers, whose energy may be low, have log_q -inf and no energy, so that their weight is zero.
    ``diagnostics["filter"]`` counts what became of all.

    Parameters
    ----------
    weights : str or Path
        A ``.safetensors`` file with its card beside it, as `train tbg` makes them.
    forcefield, temperature, level
        As in `EquilibriumGenerator`.
    integrator : Integrator, optional
        Default: `AdaptiveSteps`, as published. `FixedSteps` is cheaper, and its bias is in log q.

    Raises
    ------
    WeightsError
        If the weights cannot be used, or are those of another network.
    WrongTypeError, ForceFieldError
        As in `system_source` and `Level`.
    ConfGFError
        As in `EquilibriumGenerator`.
    """

    name = "tbg"
    network_type = EGNN

    def __init__(
        self,
        weights: str | Path,
        forcefield: ForceFieldLike | None = None,
        temperature: Any = None,
        level: LevelLike | None = None,
        integrator: Integrator | None = None,
    ) -> None:
        super().__init__(forcefield, temperature, weights, level)
        settings = self.loaded.card.settings
        if not {"variant", "scale"} <= settings.keys():
            raise WeightsError(f"The card of {weights} tells no variant and scale, without which a flow cannot run; train them anew.")
        self.variant = str(settings["variant"])
        self.flow = ContinuousFlow(float(settings["scale"]), integrator or AdaptiveSteps())

    def _prepared(self, graph: MolecularGraph, device: torch.device) -> FlowMolecule:
        of_target = TargetEnergy.of(graph, self.source, self.temperature, device, self.level)
        molecule = FlowMolecule.of(graph, self.variant, self.flow, of_target)
        if molecule.types.shape[1] != self.network.config.atom_features:
            raise UnsupportedMoleculeError(
                f"{graph.name!r} has {molecule.types.shape[1]} types of atoms in the variant {self.variant!r}, and the weights "
                f"{self.loaded.card.name!r} know {self.network.config.atom_features} of another molecule; train some on this one."
            )
        return molecule

    def _draw(self, prepared: FlowMolecule, network: EGNN, count: int, seed: int) -> Draws:
        drawn, of_target = prepared.draw(network, seed, count), prepared.of_target
        settings = {"charges": of_target.charges, "variant": self.variant, "integrator": repr(self.flow.integrator)}
        return Draws(drawn.positions, drawn.log_q, settings, of_target.target, drawn.energy, drawn.told, status=drawn.status)

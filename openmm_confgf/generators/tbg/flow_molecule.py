"""FlowMolecule: a molecule as a flow of all its atoms draws and weighs it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...errors import GenerationError
from ...models.continuous_flow import ContinuousFlow
from ...models.divergence import MolecularField
from ...models.egnn import EGNN
from ...molecules.graph import MolecularGraph
from ...status import Status
from ..base import sample_stream
from ..equilibrium import TargetEnergy
from .atom_types import atom_types
from .filter import Filtered, Outcome, filter_samples, log_multiplicity


@dataclasses.dataclass(frozen=True)
class FlowSamples:
    """Samples of a flow.

    Attributes
    ----------
    positions : ndarray of float64, (B, N, 3)
        nm, mean-free; in the molecule's order and of its hand where they are the molecule.
    log_q : ndarray of float64, (B,)
        -inf where a sample is another stereoisomer, or was not integrated to its end.
    energy : ndarray of float64, (B,)
        kJ/mol; +inf there, so that it has no weight.
    status : ndarray of int8, (B,)
        NOT_CONVERGED or WRONG_STEREO of these, else OK.
    told : dict
        Counts of what the filter did, by name, and the mean number of evaluations of the field.
    """

    positions: NDArray[np.float64]
    log_q: NDArray[np.float64]
    energy: NDArray[np.float64]
    status: NDArray[np.int8]
    told: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class FlowMolecule:
    """What stays the same for all samples of one molecule.

    Attributes
    ----------
    graph : MolecularGraph
    types : ndarray of float32, (N, F)
    flow : ContinuousFlow
    of_target : TargetEnergy
    log_multiplicity : float
        Of the filter.
    """

    graph: MolecularGraph
    types: NDArray[np.float32]
    flow: ContinuousFlow
    of_target: TargetEnergy
    log_multiplicity: float

    @classmethod
    def of(cls, graph: MolecularGraph, variant: str, flow: ContinuousFlow, of_target: TargetEnergy) -> FlowMolecule:
        """Tell the atoms apart.

        Parameters
        ----------
        graph : MolecularGraph
        variant : str
            Of `atom_types`.
        flow : ContinuousFlow
        of_target : TargetEnergy

        Raises
        ------
        UnsupportedMoleculeError
            As `atom_types` and `log_multiplicity`.
        """
        types = atom_types(graph, variant)
        return cls(graph, types, flow, of_target, log_multiplicity(graph, types))

    def field(self, network: EGNN) -> MolecularField:
        """The velocities of this molecule's atoms, on the network's device.

        Parameters
        ----------
        network : EGNN
        """
        return MolecularField(network, torch.from_numpy(self.types).to(next(network.parameters()).device))

    def draw(self, network: EGNN, seed: int, count: int) -> FlowSamples:
        """Samples, each from a random stream of its own, after the filter.

        Parameters
        ----------
        network : EGNN
        seed : int
        count : int
            B.
        """
        field, noise = self.field(network), np.empty((count, len(self.graph), 3))
        for k, rows in enumerate(noise):
            rows[:] = sample_stream(self.graph, seed, k).standard_normal(rows.shape)
        drawn = self.flow.sample(field, torch.from_numpy(noise).to(field.features.device))
        converged, carried = drawn.converged.cpu().numpy(), drawn.positions.cpu().numpy()
        filtered = filter_samples(self.graph, np.where(converged[:, None, None], carried, np.nan), self.types)
        log_q, energy = np.full(count, -np.inf), np.full(count, np.inf)
        weighed = converged & (filtered.outcome != Outcome.MIXED_HANDS)
        log_q[weighed] = (drawn.log_q.cpu().numpy() + self.log_multiplicity * filtered.kept)[weighed]
        energy[weighed] = self.of_target.energy.evaluate(filtered.positions[weighed]).energy
        positions = np.where(converged[:, None, None], filtered.positions, carried)
        status = np.select(
            [~converged, filtered.outcome == Outcome.MIXED_HANDS], [Status.NOT_CONVERGED, Status.WRONG_STEREO], Status.OK
        ).astype(np.int8)
        return FlowSamples(positions, log_q, energy, status, _told(filtered, drawn.evaluations.cpu().numpy(), converged))

    def log_density(self, network: EGNN, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log q of what the filter keeps, on the mean-free subspace, in nats.

        Parameters
        ----------
        network : EGNN
        positions : ndarray, (B, N, 3)
            nm, finite.

        Returns
        -------
        ndarray of float64, (B,)
            -inf where they are another stereoisomer, or the molecule in another order of its like atoms: what is drawn comes out otherwise.

        Raises
        ------
        GenerationError
            If the flow cannot be integrated from one of them.
        """
        found = np.full(len(positions), -np.inf)
        outcome = filter_samples(self.graph, positions, self.types).outcome
        (own,) = np.nonzero(np.isin(outcome, [Outcome.KEPT, Outcome.WRONG_BONDS]))
        if len(own):
            field = self.field(network)
            weighed = self.flow.log_prob(field, torch.from_numpy(positions[own]).to(field.features.device))
            if lost := int((~weighed.converged).sum()):
                raise GenerationError(f"The flow of {lost} of {len(own)} conformations of {self.graph.name!r} ran out of steps; give more.")
            found[own] = weighed.log_q.cpu().numpy() + self.log_multiplicity * (outcome[own] == Outcome.KEPT)
        return found


def _told(filtered: Filtered, evaluations: NDArray[np.int64], converged: NDArray[np.bool_]) -> dict[str, Any]:
    counts = {outcome.name.lower(): count for outcome, count in filtered.counts.items() if outcome is not Outcome.NON_FINITE}
    mean = float(evaluations.mean()) if len(evaluations) else 0.0
    return {"filter": counts | {"not_converged": int((~converged).sum())}, "evaluations": mean}

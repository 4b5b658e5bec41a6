"""Equilibrium conformations by molecular dynamics: many replicas at once on `BatchedEnergy`, on a ladder of temperatures if wanted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..dynamics.langevin import ReplicaState
from ..dynamics.molecular_dynamics import MolecularDynamics
from ..dynamics.settings import MDSettings
from ..energies import BatchedEnergy, ContextEnergy, ForceFieldLike, minimize, system_source
from ..ensemble import Ensemble, Provenance, Target
from ..errors import ConfGFError, GenerationError
from ..molecules.checks import check_conformations
from ..molecules.geometry import dihedrals
from ..molecules.graph import MolecularGraph
from ..molecules.stereoisomers import check_one_diastereomer, stereo_settings
from ..molecules.torsions import rotatable_torsions, torsion_orders
from ..thermodynamics.convergence import r_hat
from ..version import __version__
from .base import Generator, check_request
from .etkdg import embed_etkdg

MAX_STARTS = 32
"""Conformations that are embedded and minimised to start from; more replicas than that share them."""


class MDGenerator(Generator):
    """Frames of replicas that start from minimised ETKDG conformations (``"md"``).

    The frames of one replica are correlated, and replicas that do not cross a barrier keep the populations of their starts:
    ``diagnostics`` hold `r_hat` of the energy and the largest of the torsions, which must be close to 1, and the acceptance of exchanges.
    Every frame is a sample, whatever its status: averages over equilibrium take all energies that are finite.

    Parameters
    ----------
    forcefield : str, SystemBuilder, openmm.System, ForceField, SystemGenerator or callable
        As in `system_source`.
    settings : MDSettings, optional

    Raises
    ------
    WrongTypeError, ForceFieldError
        As in `system_source`.
    """

    name = "md"

    def __init__(self, forcefield: ForceFieldLike = "openff-2.2.1", settings: MDSettings | None = None) -> None:
        self.source = system_source(forcefield)
        self.settings = settings or MDSettings()

    def sample_many(
        self, molecules: Sequence[MolecularGraph], n: int | Sequence[int], *, seed: int = 0, device: str = "auto"
    ) -> Iterator[tuple[int, Ensemble | ConfGFError]]:
        """As `Generator.sample_many`, in the order of the molecules. Frame t of replica r is sample ``t * replicas + r``."""
        return self._sample_each(molecules, check_request(molecules, n, seed), seed, device)

    def _sample_each(
        self, molecules: Sequence[MolecularGraph], counts: list[int], seed: int, device: str
    ) -> Iterator[tuple[int, Ensemble | ConfGFError]]:
        for index, (graph, count) in enumerate(zip(molecules, counts, strict=True)):
            try:
                system = self.source.build(graph)
                dynamics = MolecularDynamics(system, self.settings, seed, device)
                state = dynamics.start(minimised_starts(graph, system, self.settings.replicas, seed))
                rounds = []
                for _ in range(math.ceil(count / self.settings.replicas)):
                    state, frames = dynamics.next_frames(state)
                    rounds.append(frames)
                frames = np.concatenate(rounds)
                energy = BatchedEnergy(system, device=device).evaluate(frames).energy
                target = self.source.target(system, self.settings.temperature)
                settings = self.settings.as_settings() | {"charges": self.source.charges}
                yield index, md_ensemble(graph, frames, energy, seed, settings, target, state)[:count]
            except ConfGFError as error:
                yield index, error


def minimised_starts(graph: MolecularGraph, system: Any, replicas: int, seed: int) -> NDArray[np.float64]:
    """Up to `MAX_STARTS` ETKDG conformations, each at its nearest minimum.

    Parameters
    ----------
    graph : MolecularGraph
    system : openmm.System
        Of the molecule, its particles in the order of the atoms.
    replicas : int
        As many conformations are embedded, if they are fewer than `MAX_STARTS`.
    seed : int
        At least 0.

    Returns
    -------
    ndarray of float64, (S, N, 3)
        nm, S at least 1.

    Raises
    ------
    MoleculeError
        If they are of several diastereomers, as in `minimised`.
    GenerationError
        If there is none.
    """
    return minimised(embed_etkdg(graph, min(replicas, MAX_STARTS), seed), system)


def minimised(ensemble: Ensemble, system: Any) -> NDArray[np.float64]:
    """The usable conformations of an ensemble, each at its nearest minimum.

    Parameters
    ----------
    ensemble : Ensemble
    system : openmm.System
        Of the molecule, its particles in the order of the atoms.

    Returns
    -------
    ndarray of float64, (S, N, 3)
        nm, in their order, S at least 1; those that cannot be evaluated are left out.

    Raises
    ------
    MoleculeError
        If they are of several diastereomers: frames of different compounds are no equilibrium.
    GenerationError
        If none is left.
    """
    check_one_diastereomer(ensemble.graph, ensemble.positions[ensemble.ok], "a simulation")
    with ContextEnergy(system) as context:
        relaxed = minimize(context, ensemble.positions[ensemble.ok])
    found = relaxed.positions[np.isfinite(relaxed.energy)]
    if not len(found):
        raise GenerationError(f"{ensemble.graph.name!r} has no conformation that a simulation can start from; give other ones.")
    return found


def md_ensemble(
    graph: MolecularGraph,
    frames: NDArray[np.float64],
    energy: NDArray[np.float64],
    seed: int,
    settings: dict[str, Any],
    target: Target,
    state: ReplicaState,
) -> Ensemble:
    """Frames (T * replicas, N, 3), time by time, with their statuses and the diagnostics of the run.

    Parameters
    ----------
    graph : MolecularGraph
    frames : ndarray, (T * replicas, N, 3)
        nm.
    energy : ndarray, (T * replicas,)
        kJ/mol.
    seed : int
    settings : dict
        `MDSettings.as_settings`, and where the charges come from.
    target : Target
        What was sampled.
    state : ReplicaState
        At the end.
    """
    diagnostics = {
        "picoseconds": round(state.step * settings["timestep"], 9),
        "exchange_acceptance": [float(rate) for rate in state.accepted / np.maximum(state.attempts, 1)],
        "r_hat_energy": r_hat(energy.reshape(-1, settings["replicas"]).T),
        "r_hat_torsions": _r_hat_torsions(graph, frames, settings["replicas"]),
    }
    provenance = Provenance("md", __version__, seed, settings=settings | stereo_settings(graph))
    return Ensemble(graph, frames, provenance, check_conformations(graph, frames), energy, target=target, diagnostics=diagnostics)


def _r_hat_torsions(graph: MolecularGraph, frames: NDArray[np.float64], replicas: int) -> float | None:
    """The largest of the cosines and sines of the rotatable torsions, each times its order; None where there is none."""
    quadruples = rotatable_torsions(graph)
    turns = dihedrals(torch.tensor(frames), torch.from_numpy(quadruples)).numpy() * np.array(torsion_orders(graph, quadruples))
    waves = np.concatenate([np.cos(turns), np.sin(turns)], 1)
    found = [r_hat(wave.reshape(-1, replicas).T) for wave in waves.T]
    return max((value for value in found if math.isfinite(value)), default=None)

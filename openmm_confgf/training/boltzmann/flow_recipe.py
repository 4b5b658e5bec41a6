"""From a molecule to a flow of its atoms: simulation, flow matching, test on fresh samples, weights and their card."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ...devices import resolve_device
from ...energies import ForceFieldLike, system_source
from ...ensemble import Ensemble
from ...errors import ConfGFError
from ...generators.density import worth
from ...generators.equilibrium import TargetEnergy
from ...generators.tbg import TBGGenerator
from ...generators.tbg.flow_molecule import FlowMolecule
from ...models.cards import CardTarget
from ...models.continuous_flow import ContinuousFlow
from ...models.egnn import EGNN, EGNNConfig
from ...models.weights import save_weights
from ...molecules.backbone import first_phi
from ...molecules.graph import MolecularGraph
from ..same_run import check_same_run
from ..step_rounds import Row
from .flow_loop import FlowLesson, FlowTraining
from .flow_settings import FlowRun
from .frames import check_positions
from .outcome import BoltzmannResult, card_of_run, run_identity, tell_frames, tested
from .simulated import frames_of

TESTED = 1000
"""Fresh samples of the test."""


def train_tbg(
    molecule: MolecularGraph | Ensemble,
    directory: str | Path,
    forcefield: ForceFieldLike = "openff-2.2.1",
    *,
    temperature: float = 300.0,
    frames: Ensemble | None = None,
    run: FlowRun | None = None,
    device: str = "auto",
    say: Callable[[str], None] = lambda line: None,
    after_round: Callable[[Row, int], None] = lambda row, rounds: None,
) -> BoltzmannResult:
    """Train a transferable Boltzmann generator (Klein & Noe 2024) on one molecule; the same call goes on where an earlier one stopped.

    Parameters
    ----------
    molecule : MolecularGraph or Ensemble
        An ensemble tells the simulation where to start.
    directory : str or Path
        Gets the simulation, the checkpoint, the log, the weights and their card.
    forcefield : str, SystemBuilder, openmm.System, ForceField, SystemGenerator or callable
        As in `system_source`, without constraints.
    temperature : float
        K.
    frames : Ensemble, optional
        Of equilibrium at this temperature, to learn from instead of a simulation made here.
    run : FlowRun, optional
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    say : callable
        Called with a line on each stage.
    after_round : callable
        Called with the row of each round and the number of rounds.

    Returns
    -------
    BoltzmannResult

    Raises
    ------
    UnsupportedMoleculeError, ForceFieldError, UnsupportedForceError
        As in `TargetEnergy.of` and `FlowMolecule.of`.
    ConfGFError
        If the frames are of another molecule, too few or not finite, there is no phi to up-weight, or the directory holds another run.
    """
    run, directory, where = run or FlowRun(), Path(directory), resolve_device(device)
    graph = molecule.graph if isinstance(molecule, Ensemble) else molecule
    source = system_source(forcefield)
    of_target = TargetEnergy.of(graph, source, temperature, where)
    prepared = FlowMolecule.of(graph, run.variant, ContinuousFlow(run.scale), of_target)
    target = CardTarget(source.forcefield, temperature)
    directory.mkdir(parents=True, exist_ok=True)
    check_same_run(directory, run_identity(graph, of_target.target.system_sha256, target, run, None), begun=True)
    frames = frames_of(molecule, frames, directory, forcefield, temperature, run.minutes, run.seed, device, say)
    check_positions(graph, frames.positions)
    probability = _upweighted(frames) if run.upweighted else None
    lesson = FlowLesson.of(frames.positions, prepared.types, run.scale, where, probability)
    torch.manual_seed(run.seed)
    network = EGNN(EGNNConfig(prepared.types.shape[1], run.width, run.layers)).to(where)

    def look(averaged: EGNN) -> Row:
        drawn = prepared.draw(averaged, run.seed + 1, run.samples)
        kept, found = float(np.isfinite(drawn.log_q).mean()), worth(drawn.log_q, drawn.energy, drawn.status, temperature)
        return {"evaluations": drawn.told["evaluations"], "kept": kept, "ess": found.get("ess_fraction"), "k_hat": found.get("k_hat")}

    rows = FlowTraining(network, [lesson], run, directory, look).fit(after_round)
    weights, data = directory / "tbg.safetensors", tell_frames(frames)
    card = card_of_run("tbg", graph, network, target, data, run, rows, None)
    save_weights(weights, network, dataclasses.replace(card, settings={"variant": run.variant, "scale": run.scale}))
    say(f"testing {TESTED} fresh samples")
    return tested(TBGGenerator(weights, forcefield), weights, graph, TESTED, run.seed + 2, device, rows, data)


def _upweighted(frames: Ensemble) -> NDArray[np.float64]:
    """Probabilities of frames, (F,): those with phi > 0 have half of it together."""
    phi = first_phi(frames.graph, frames.positions)
    if phi is None:
        raise ConfGFError(f"{frames.graph.name!r} has no phi whose frames could be up-weighted; train without it.")
    positive = phi > 0
    if positive.all() or not positive.any():
        raise ConfGFError("All frames have phi on one side, and none on the other could be seen more often; simulate for longer.")
    return np.asarray(np.where(positive, 0.5 / positive.sum(), 0.5 / (~positive).sum()))

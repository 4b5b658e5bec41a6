"""From a molecule to a Boltzmann generator of its own: simulation, training, test on fresh samples, weights and their card."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...devices import resolve_device
from ...energies import ForceFieldLike, LevelLike, level_of, system_source
from ...ensemble import Ensemble
from ...errors import ConfGFError
from ...generators.boltzmann import BoltzmannGenerator
from ...generators.boltzmann.prepared import PreparedMolecule
from ...models.autoregressive import AutoregressiveConfig, AutoregressiveDensity
from ...models.cards import Card, CardTarget
from ...models.weights import load_weights, save_weights
from ...molecules.graph import MolecularGraph
from ...thermodynamics.pareto import pareto_k
from ..objectives.energies import TEMPERED, tempered_weights
from ..same_run import check_same_run
from ..step_rounds import Row
from .frames import Frames, training_frames
from .loop import BoltzmannTraining, Lesson
from .monitor import Samples, draw_samples
from .outcome import OWN_SAMPLES, BoltzmannResult, card_of_run, run_identity, tell_frames, tested
from .settings import AT_A_LEVEL, BoltzmannRun
from .simulated import frames_of

FROM_PARENT = 4096
"""Samples of the weights to start from that are evaluated."""

_HELD_OUT = 0.1
"""Share of the frames that nothing learns from."""

TESTED = 20_000
"""Fresh samples of the test."""


def train_boltzmann(
    molecule: MolecularGraph | Ensemble,
    directory: str | Path,
    forcefield: ForceFieldLike | None = None,
    *,
    temperature: float | None = None,
    level: LevelLike | None = None,
    frames: Ensemble | None = None,
    parent: str | Path | None = None,
    run: BoltzmannRun | None = None,
    device: str = "auto",
    say: Callable[[str], None] = lambda line: None,
    after_round: Callable[[Row, int], None] = lambda row, rounds: None,
) -> BoltzmannResult:
    """Train a Boltzmann generator for one molecule; the same call goes on where an earlier one stopped.

    Parameters
    ----------
    molecule : MolecularGraph or Ensemble
        An ensemble tells the simulation where to start.
    directory : str or Path
        Gets the simulation, the checkpoint, the log, the weights and their card, and the test's samples.
    forcefield : str, SystemBuilder, openmm.System, ForceField, SystemGenerator or callable, optional
        As in `system_source`, without constraints. Default: that of the weights to start from, or ``"openff-2.2.1"``.
    temperature : float, optional
        K. Default: that of the weights to start from, or 300 K.
    level : Level, or whatever `Level` takes, optional
        Whose energies are sampled, where they are not the force field's: ``"gfn2"``. Nothing is simulated then: the weights to start from
        give the first samples, and must know the molecule.
    frames : Ensemble, optional
        Of equilibrium at this temperature, to learn from instead of a simulation made here.
    parent : str or Path, optional
        Weights to start from. If they know the molecule (k-hat of their samples below 1), nothing is simulated, and energies teach from the
        first round.
    run : BoltzmannRun, optional
        Default: `BoltzmannRun()`, or `AT_A_LEVEL`.
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
        As in `PreparedMolecule.of`.
    WeightsError
        If the parent cannot be used.
    ConfGFError
        If the frames are of another molecule, the directory holds another run, or there are no weights to start from at a level.
    """
    directory, where = Path(directory), resolve_device(device)
    graph = molecule.graph if isinstance(molecule, Ensemble) else molecule
    before, card = _parent(parent)
    known = None if card is None else card.target
    if forcefield is None:
        forcefield = (known.inputs or known.forcefield) if known else "openff-2.2.1"
    if temperature is None:
        temperature = known.temperature if known else 300.0
    theory = None if level is None else level_of(level)
    if theory is not None and before is None:
        raise ConfGFError(
            f"The energies of {theory.name} need weights to start from; train some on a force field, and give them as parent (--from)."
        )
    run = run or (BoltzmannRun() if theory is None else AT_A_LEVEL)
    source = system_source(forcefield)
    prepared = PreparedMolecule.of(graph, source, temperature, where, theory)
    target = CardTarget(source.forcefield, temperature) if theory is None else CardTarget(theory.name, temperature, source.forcefield)
    directory.mkdir(parents=True, exist_ok=True)
    check_same_run(directory, run_identity(graph, prepared.target.system_sha256, target, run, card), begun=True)
    torch.manual_seed(run.seed)
    network = AutoregressiveDensity(AutoregressiveConfig(**card.config) if card else None).to(where)
    if before is not None:
        network.load_state_dict(before.state_dict())
    own = None
    if card is not None:
        say(f"evaluating {FROM_PARENT} samples of the weights {card.name}")
        own = draw_samples(prepared, network, FROM_PARENT, run.seed)
        if _is_known(own):
            run = dataclasses.replace(run, frames_share=0.0)
        elif theory is None:
            own = None
    if frames is None and own is not None:
        lesson, data = _lesson_of_samples(prepared, own, run.seed)
    else:
        frames = frames_of(molecule, frames, directory, forcefield, temperature, run.minutes, run.seed, device, say)
        lesson, data = _lesson(prepared, frames, run.seed)
    rows = BoltzmannTraining(network, [lesson], run, directory).fit(after_round)
    weights = directory / "boltzmann.safetensors"
    save_weights(weights, network, card_of_run("boltzmann", graph, network, target, data, run, rows, card))
    say(f"testing {TESTED} fresh samples")
    generator = BoltzmannGenerator(forcefield, temperature, weights, theory)
    return tested(generator, weights, graph, TESTED, run.seed + 1, device, rows, data)


def _parent(parent: str | Path | None) -> tuple[AutoregressiveDensity | None, Card | None]:
    if parent is None:
        return None, None
    network, card = load_weights(parent)
    if not isinstance(network, AutoregressiveDensity):
        raise ConfGFError(f"The weights {parent} are those of a {card.architecture}; start from those of a Boltzmann generator.")
    return network, card


def _lesson(prepared: PreparedMolecule, frames: Ensemble, seed: int) -> tuple[Lesson, dict[str, Any]]:
    """What there is to learn of frames, and what the card says of them."""
    learnt = training_frames(prepared, frames.positions)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(learnt)))
    return _split(prepared, learnt[order]), tell_frames(frames)


def _is_known(samples: Samples) -> bool:
    """Whether the weights have a mean, by k-hat: energies can then teach from the first step, where frames would undo what is known."""
    if not samples.log_weights.isfinite().any():
        return False
    k_hat = pareto_k(samples.log_weights.numpy())
    return k_hat is not None and k_hat < 1


def _lesson_of_samples(prepared: PreparedMolecule, samples: Samples, seed: int) -> tuple[Lesson, dict[str, Any]]:
    """Samples of the weights to start from, those of large weight preferred; they keep the modes that these know in what is learnt from."""
    weights = tempered_weights(samples.log_weights, TEMPERED).numpy()
    chosen = np.random.default_rng(seed).choice(len(weights), min(len(weights) // 2, (weights > 0).sum()), False, weights / weights.sum())
    said = {"frames": len(chosen), "generator": OWN_SAMPLES, "r_hat_energy": None, "r_hat_torsions": None}
    return _split(prepared, samples.frames[torch.from_numpy(chosen)]), said


def _split(prepared: PreparedMolecule, frames: Frames) -> Lesson:
    held_out = torch.arange(len(frames)) < max(1, int(_HELD_OUT * len(frames)))
    return Lesson(prepared, frames[~held_out], frames[held_out])

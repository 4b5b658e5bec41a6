"""From a molecule to a Boltzmann generator of its own: simulation, training, test on fresh samples, weights and their card."""

from __future__ import annotations

import dataclasses
import json
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...checksums import molecule_hash
from ...devices import resolve_device
from ...dynamics.settings import MDSettings
from ...energies import ForceFieldLike, LevelLike, level_of, system_source
from ...ensemble import Ensemble
from ...errors import ConfGFError
from ...generators.boltzmann import BoltzmannGenerator
from ...generators.boltzmann.prepared import PreparedMolecule
from ...models.autoregressive import AutoregressiveConfig, AutoregressiveDensity
from ...models.cards import Card, CardTarget
from ...models.registry import describe_network
from ...models.weights import load_weights, save_weights
from ...molecules.graph import MolecularGraph
from ...reweighting import Reweighted, reweight
from ...simulation import simulate
from ...thermodynamics.convergence import AGREEMENT
from ...writing import write_whole
from ..objectives.energies import tempered_weights
from ..same_run import check_same_run
from ..step_rounds import Row
from .frames import Frames, training_frames
from .loop import TEMPERED, BoltzmannTraining, Lesson
from .monitor import draw_samples
from .settings import AT_A_LEVEL, BoltzmannRun

LADDER = 5
"""Temperatures of the simulation, up to twice that of the target."""

REPLICAS = 64

_SHARE_OF_TIME = 0.25
"""Of the minutes: what the simulation may take."""

_FIRST = 4.0
"""ps after which the simulation's speed is known."""

FROM_PARENT = 4096
"""Samples of the weights to start from that are evaluated at a level."""

_HELD_OUT = 0.1
"""Share of the frames that nothing learns from."""

TESTED = 20_000
"""Fresh samples of the test."""


@dataclasses.dataclass(frozen=True)
class BoltzmannResult:
    """What a training left.

    Attributes
    ----------
    weights : Path
        The ``.safetensors`` file, its card beside it.
    reweighted : Reweighted
        Fresh samples, and what their weights are worth.
    r_hat : float
        Of the simulation that taught it, the larger one of its energies and its torsions; NaN for frames of one's own.
    rows : list of dict
        The log.
    verdict : str
        Whether the generator can be trusted, in a sentence or two.
    """

    weights: Path
    reweighted: Reweighted
    r_hat: float
    rows: list[Row]
    verdict: str


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
        Weights to start from.
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
    check_same_run(directory, _identity(prepared, target, run, card), begun=True)
    torch.manual_seed(run.seed)
    network = AutoregressiveDensity(AutoregressiveConfig(**card.config) if card else None).to(where)
    if before is not None:
        network.load_state_dict(before.state_dict())
    if frames is None and theory is not None:
        say(f"evaluating {FROM_PARENT} samples of the weights {card.name if card else ''}")
        lesson, data = _lesson_of_parent(prepared, network, run.seed)
    else:
        if frames is None:
            frames = _simulated(molecule, directory, forcefield, temperature, run, device, say)
        elif not frames.graph.same_as(graph):
            raise ConfGFError(
                f"The frames are of {frames.graph.name!r}, or in another order of atoms than {graph.name!r}; give frames of this."
            )
        lesson, data = _lesson(prepared, frames, run.seed)
    rows = BoltzmannTraining(network, [lesson], run, directory).fit(after_round)
    weights = directory / "boltzmann.safetensors"
    save_weights(weights, network, _card(graph, network, target, data, run, rows, card))
    say(f"testing {TESTED} fresh samples")
    generator = BoltzmannGenerator(forcefield, temperature, weights, theory)
    samples = generator.sample(graph, TESTED, seed=run.seed + 1, device=device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the verdict says the same
        found = reweight(samples, temperature)
    r_hat = max((value for value in (data["r_hat_energy"], data["r_hat_torsions"]) if value is not None), default=math.nan)
    return BoltzmannResult(weights, found, r_hat, rows, _verdict(found, r_hat))


def _parent(parent: str | Path | None) -> tuple[AutoregressiveDensity | None, Card | None]:
    if parent is None:
        return None, None
    network, card = load_weights(parent)
    if not isinstance(network, AutoregressiveDensity):
        raise ConfGFError(f"The weights {parent} are those of a {card.architecture}; start from those of a Boltzmann generator.")
    return network, card


def _simulated(
    molecule: MolecularGraph | Ensemble,
    directory: Path,
    forcefield: ForceFieldLike,
    temperature: float,
    run: BoltzmannRun,
    device: str,
    say: Callable[[str], None],
) -> Ensemble:
    """Frames of a temperature ladder, as long as its share of the minutes allows; the length is kept for when the run is resumed."""
    path, plan = directory / "md.h5", directory / "simulation.json"
    ladder = tuple(temperature * 2 ** (k / (LADDER - 1)) for k in range(LADDER))
    settings = MDSettings(temperature=temperature, ladder=ladder, replicas=REPLICAS, frame_interval=0.2, precision="single")
    if not plan.exists():
        say("simulating")
        times: list[float] = []

        def frame_is_there(done: int, total: int) -> None:
            times.append(time.perf_counter())

        simulate(molecule, path, forcefield, length=_FIRST, settings=settings, seed=run.seed, device=device, progress=frame_is_there)
        # from frame to frame: compiling and equilibration come once
        seconds = (times[-1] - times[0]) / (len(times) - 1) / settings.frame_interval
        length = max(2 * _FIRST, round(60 * run.minutes * _SHARE_OF_TIME / seconds))
        write_whole(plan, json.dumps({"ps": length}))
    length = json.loads(plan.read_text())["ps"]
    say(f"simulating {REPLICAS} replicas for {length:g} ps at {temperature:g} to {ladder[-1]:g} K")
    return simulate(molecule, path, forcefield, length=length, settings=settings, seed=run.seed, device=device)


def _lesson(prepared: PreparedMolecule, frames: Ensemble, seed: int) -> tuple[Lesson, dict[str, Any]]:
    """What there is to learn of frames, and what the card says of them."""
    agreement = {name: frames.diagnostics.get(name, math.nan) for name in ("r_hat_energy", "r_hat_torsions")}
    learnt = training_frames(prepared, frames.positions)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(learnt)))
    said = {"frames": len(frames), "generator": frames.provenance.generator}
    said |= {name: value if math.isfinite(value) else None for name, value in agreement.items()}
    return _split(prepared, learnt[order]), said


def _lesson_of_parent(prepared: PreparedMolecule, network: AutoregressiveDensity, seed: int) -> tuple[Lesson, dict[str, Any]]:
    """Samples of the weights to start from, those of large weight preferred; they keep the modes that these know in what is learnt from."""
    samples = draw_samples(prepared, network, FROM_PARENT, seed)
    weights = tempered_weights(samples.log_weights, TEMPERED).numpy()
    chosen = np.random.default_rng(seed).choice(len(weights), min(len(weights) // 2, (weights > 0).sum()), False, weights / weights.sum())
    said = {"frames": len(chosen), "generator": "the weights to start from", "r_hat_energy": None, "r_hat_torsions": None}
    return _split(prepared, samples.frames[torch.from_numpy(chosen)]), said


def _split(prepared: PreparedMolecule, frames: Frames) -> Lesson:
    held_out = torch.arange(len(frames)) < max(1, int(_HELD_OUT * len(frames)))
    return Lesson(prepared, frames[~held_out], frames[held_out])


def _identity(prepared: PreparedMolecule, target: CardTarget, run: BoltzmannRun, parent: Card | None) -> dict[str, Any]:
    """What must not change between two parts of a run; how long it takes may."""
    settings = {name: value for name, value in dataclasses.asdict(run).items() if name not in ("minutes", "rounds", "until_ess")}
    return {
        "molecule": molecule_hash(prepared.graph.smiles),
        "system": prepared.target.system_sha256,
        **dataclasses.asdict(target),
        "parent": parent and parent.sha256,
        **settings,
    }


def _card(
    graph: MolecularGraph,
    network: AutoregressiveDensity,
    target: CardTarget,
    data: dict[str, Any],
    run: BoltzmannRun,
    rows: list[Row],
    parent: Card | None,
) -> Card:
    architecture, config = describe_network(network)
    curve = {name: [row.get(name) for row in rows] for name in ("round", "loss", "ess", "k_hat", "mean_log_q", "torus_distance")}
    sizes = [len(graph), *((parent.min_atoms, parent.max_atoms) if parent else ())]
    return Card(
        name="boltzmann",
        architecture=architecture,
        config=config,
        sha256="",
        elements=sorted({int(z) for z in graph.numbers} | set(parent.elements if parent else ())),
        min_atoms=min(sizes),
        max_atoms=max(sizes),
        trained_on=sorted({molecule_hash(graph.constitution)} | set(parent.trained_on if parent else ())),
        data=[{"molecule": graph.smiles, **data}],
        training={
            **dataclasses.asdict(run),
            "rounds": len(rows),
            "steps_made": rows[-1]["step"],
            "seconds": sum(row["seconds"] or 0.0 for row in rows),
            "torch": torch.__version__,
            "curve": curve,
        },
        parent=parent.lineage() if parent else None,
        target=target,
    )


def _verdict(found: Reweighted, r_hat: float) -> str:
    """What the weights say, and what they cannot: a mode that the frames lack is lacking in the samples."""
    said = found.diagnostics.verdict
    if r_hat > AGREEMENT:
        said += (
            f" The replicas of the simulation do not agree (R-hat {r_hat:.2f}, above {AGREEMENT}): conformations may be missing, "
            "which weights cannot show; train longer."
        )
    return said

"""From molecules and a level of theory to an aligned generator: sample, minimise, evaluate, tune, look at molecules that are held out."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checksums import molecule_hash
from ..devices import resolve_device
from ..energies import Level, LevelLike, level_of
from ..ensemble import Ensemble
from ..errors import ConfGFError, LossExplodedError
from ..generators.base import Generator
from ..generators.boltzmann import BoltzmannGenerator
from ..generators.confgf import ConfGFGenerator
from ..generators.equilibrium import EquilibriumGenerator
from ..generators.registry import create_generator
from ..generators.tbg import TBGGenerator
from ..models.cards import Card, CardTarget
from ..models.weights import save_weights
from ..molecules.graph import MolecularGraph
from ..training.same_run import check_same_run
from ..training.step_rounds import Row
from ..writing import whole_file, write_whole
from .before_after import BeforeAfter, compared
from .denoising import Denoised, DenoisingModel
from .density import DensityModel
from .flow_field import FlowField
from .loop import AlignmentTraining
from .model import AlignableModel
from .noise_field import NoiseField
from .pool import Pool
from .settings import DEFAULT, AlignmentRun

_ALIGNED = ("confgf-noise", "tbg", "boltzmann")

HELD_OUT = 5
"""One constitution in so many is held out."""


@dataclasses.dataclass(frozen=True)
class AlignmentResult:
    """What an alignment left.

    Attributes
    ----------
    rows : list of dict
        The log.
    best_round : int
        Whose weights the network has; 0 where none was better than the weights that it started from.
    comparisons : list of BeforeAfter
        Of each molecule that was held out, before and after.
    skipped : dict of str to str
        Molecules that were left out by name, and why.
    problem : str
        Why the run ended early, where the loss exploded; else empty.
    weights : Path or None
        The ``.safetensors`` file, its card beside it; None of a model from outside, whose network has been changed in place.
    """

    rows: list[Row]
    best_round: int
    comparisons: list[BeforeAfter]
    skipped: dict[str, str]
    problem: str = ""
    weights: Path | None = None


def align(
    model: Generator | DenoisingModel,
    molecules: Sequence[MolecularGraph | Ensemble],
    level: LevelLike,
    directory: str | Path,
    run: AlignmentRun = DEFAULT,
    *,
    compare: int = 32,
    device: str = "auto",
    say: Callable[[str], None] = lambda line: None,
    after_round: Callable[[Row, int], None] = lambda row, rounds: None,
) -> AlignmentResult:
    """Teach a generator the relative probabilities of a level of theory; the same call goes on where an earlier one stopped.

    Parameters
    ----------
    model : ConfGFGenerator, TBGGenerator, BoltzmannGenerator, or DenoisingModel
        Its network is trained in place. A `ConfGFGenerator` starts from noise.
    molecules : sequence of MolecularGraph or Ensemble
        An ensemble's conformations are what is learnt from; of a graph the model draws them.
    level : Level, or whatever `Level` takes
    directory : str or Path
        Gets the conformations, the checkpoint, the log, and the weights and their card.
    run : AlignmentRun
    compare : int
        Conformations of each molecule that is held out, drawn before and after; 0 for no comparison.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    say : callable
        Called with a line on each stage, and each molecule that is left out.
    after_round : callable
        Called with the row of each round and the number of rounds.

    Returns
    -------
    AlignmentResult

    Raises
    ------
    WrongTypeError, ForceFieldError, PlatformError
        As in `Level` and `resolve_device`.
    ConfGFError
        If the model cannot be aligned, or its weights are of another level, no molecule is left to learn from, or the directory holds
        another run.
    """
    directory, theory = Path(directory), level_of(level)
    aligned = alignable(model, run, str(resolve_device(device)))
    if run.loss in ("log-variance", "distillation") and not isinstance(aligned, DensityModel):
        raise ConfGFError(f"The loss {run.loss} needs an exact density, which boltzmann alone has here; use eba or dpo.")
    if run.loss == "distillation" and (run.minimised or any(isinstance(molecule, Ensemble) for molecule in molecules)):
        raise ConfGFError("Distillation weighs samples by the probability with which they were drawn; let the model draw them, raw.")
    if isinstance(model, EquilibriumGenerator):
        sampled = model.source.forcefield if model.level is None else model.level.name
        if theory.name != sampled:
            raise ConfGFError(
                f"The generator {model.name!r} samples {sampled}, and its weights would not be those of {theory.name}; align it with "
                f"{sampled}, or give weights or a generator of the other."
            )
    directory.mkdir(parents=True, exist_ok=True)
    check_same_run(directory, _identity(model, molecules, theory, run), begun=True)

    def draw(pool: Pool, seed: int) -> Pool | None:
        try:
            return pool_of(aligned, pool.graph, aligned.sample(pool.graph, run.samples, seed=seed), theory, run)
        except ConfGFError:
            return None

    pools, skipped = _pools(aligned, molecules, theory, run, directory, say)
    learnt, held_out = _split(pools)
    if not learnt:
        raise ConfGFError(f"None of the {len(molecules)} molecules can be learnt from; first: {next(iter(skipped.values()), 'none given')}")
    if not held_out:
        say("there is one molecule only: nothing is held out that could show what the alignment does to others")
    before = copy.deepcopy(aligned) if compare and held_out else None
    say(f"learning from {len(learnt)} molecules, looking at {len(held_out)} others")
    training, problem = AlignmentTraining(aligned, learnt, held_out, run, directory, draw), ""
    try:
        training.fit(after_round)
    except LossExplodedError as error:
        problem = f"{error} The weights are those of round {training.best_round}."
        say(problem)
    comparisons = []
    if before is not None:
        say(f"comparing {len(held_out)} molecules before and after")
        comparisons = [found for pool in held_out if (found := compared(before, aligned, pool, theory, run, compare)) is not None]
        write_whole(directory / "comparison.json", json.dumps([dataclasses.asdict(one) for one in comparisons], indent=1))
    result = AlignmentResult(training.rows, training.best_round, comparisons, skipped, problem)
    if not isinstance(model, Generator):
        return result
    card = _card(_card_of(model), model, theory, run, result, learnt)
    path = directory / f"{card.name}.safetensors"
    save_weights(path, aligned.network, card)
    return dataclasses.replace(result, weights=path)


def alignment_model(
    name: str, weights: str | Path | None = None, temperature: float | None = None
) -> tuple[ConfGFGenerator | TBGGenerator | BoltzmannGenerator, float]:
    """A generator that can be aligned, by name, and the temperature in K at which it is to be.

    Parameters
    ----------
    name : str
        ``"confgf-noise"``, ``"tbg"`` or ``"boltzmann"``.
    weights : str or Path, optional
        As in `create_generator`.
    temperature : float, optional
        Default: that of the weights, or 300 K.

    Raises
    ------
    ConfGFError
        If it is another generator, or as `create_generator`.
    """
    if name not in _ALIGNED:
        raise ConfGFError(f"The generator {name!r} cannot be aligned; use one of {', '.join(_ALIGNED)}.")
    model = create_generator(name, weights, temperature=None if name == "confgf-noise" else temperature)
    if isinstance(model, TBGGenerator | BoltzmannGenerator):
        return model, model.temperature
    assert isinstance(model, ConfGFGenerator)
    return model, 300.0 if temperature is None else temperature


def alignable(model: Generator | DenoisingModel, run: AlignmentRun, device: str = "cpu") -> AlignableModel:
    """A model as the loop takes it.

    Parameters
    ----------
    model : ConfGFGenerator, TBGGenerator, BoltzmannGenerator, or DenoisingModel
    run : AlignmentRun
    device : str

    Raises
    ------
    ConfGFError
        If it is another generator, or a ConfGFGenerator that does not start from noise.
    """
    match model:
        case BoltzmannGenerator():
            return DensityModel(model, device)
        case TBGGenerator():
            return Denoised(FlowField(model, device), run.draws)
        case ConfGFGenerator(start="noise"):
            return Denoised(NoiseField(model, device), run.draws)
        case Generator():
            raise ConfGFError(f"The generator {model.name!r} cannot be aligned; use one of {', '.join(_ALIGNED)}.")
    return Denoised(model, run.draws)


def _pools(
    model: AlignableModel,
    molecules: Sequence[MolecularGraph | Ensemble],
    level: Level,
    run: AlignmentRun,
    directory: Path,
    say: Callable[[str], None],
) -> tuple[list[Pool], dict[str, str]]:
    """The conformations to learn from, each molecule's kept in a file, and which molecules are left out."""
    say(f"conformations of {len(molecules)} molecules and their energies in {level.name}")
    pools, skipped = [], {}
    for index, molecule in enumerate(molecules):
        graph, path = (molecule.graph if isinstance(molecule, Ensemble) else molecule), directory / "pools" / f"{index}.npz"
        try:
            if path.exists():
                with np.load(path, allow_pickle=False) as arrays:
                    pools.append(Pool(graph, **arrays))
                continue
            if isinstance(molecule, Ensemble):
                positions = molecule.positions[molecule.ok]
            else:
                positions = model.sample(graph, run.samples, seed=run.seed)
            pool = pool_of(model, graph, positions, level, run)
            if isinstance(molecule, Ensemble) and len(pool) < len(positions):
                say(
                    f"{len(positions) - len(pool)} of {len(positions)} conformations of {graph.name!r} are left out: "
                    "they are not the molecule, or the model could not draw them"
                )
        except ConfGFError as error:
            skipped[graph.name] = str(error)
            say(f"left out: {error}")
            continue
        path.parent.mkdir(exist_ok=True)
        with whole_file(path) as stream:
            np.savez(stream, **pool.arrays())  # type: ignore[arg-type]  # numpy's stub takes the keyword names for its own flag
        pools.append(pool)
    return pools, skipped


def pool_of(model: AlignableModel, graph: MolecularGraph, positions: NDArray[np.float64], level: Level, run: AlignmentRun) -> Pool:
    """What a model can be taught of conformations.

    Parameters
    ----------
    model : AlignableModel
    graph : MolecularGraph
    positions : ndarray of float64, (S, N, 3)
        nm.
    level : Level
    run : AlignmentRun
        Says whether they move to their minima.

    Raises
    ------
    ForceFieldError
        If the level has no parameters for the molecule.
    ConfGFError
        If too few are left, or all have one energy.
    """
    if run.minimised:
        pool = Pool.of_minima(graph, positions, level)
    else:
        energy = model.prepare(graph).energy if isinstance(model, DensityModel) else level.energy(graph)
        pool = Pool.of_samples(graph, positions, energy)
    return pool.known_to(model, run.seed)


def _split(pools: list[Pool]) -> tuple[list[Pool], list[Pool]]:
    """Those that are learnt from, and a fifth of the constitutions that are held out."""
    constitutions = sorted({molecule_hash(pool.graph.constitution) for pool in pools})
    held = set(constitutions[: math.ceil(len(constitutions) / HELD_OUT)]) if len(constitutions) > 1 else set()
    apart = [molecule_hash(pool.graph.constitution) in held for pool in pools]
    return [pool for pool, out in zip(pools, apart, strict=True) if not out], [pool for pool, out in zip(pools, apart, strict=True) if out]


def _card_of(model: Generator) -> Card:
    if isinstance(model, EquilibriumGenerator):
        return model.loaded.card
    assert isinstance(model, ConfGFGenerator)
    return model.card


def _identity(model: Any, molecules: Sequence[MolecularGraph | Ensemble], level: Level, run: AlignmentRun) -> dict[str, Any]:
    """What must not change between two parts of a run; how long it takes may."""
    graphs = [molecule.graph if isinstance(molecule, Ensemble) else molecule for molecule in molecules]
    return {
        "parent": _card_of(model).sha256 if isinstance(model, Generator) else type(model).__name__,
        "molecules": molecule_hash("\n".join(graph.smiles for graph in graphs)),
        "level": level.name,
        **{name: value for name, value in dataclasses.asdict(run).items() if name not in ("steps", "patience", "extrapolation")},
    }


def _card(parent: Card, model: Generator, level: Level, run: AlignmentRun, result: AlignmentResult, learnt: list[Pool]) -> Card:
    """The parent's card with what was taught."""
    graphs = [pool.graph for pool in learnt] if result.best_round else []
    known = parent.target
    target = known if isinstance(model, EquilibriumGenerator) and known is not None else CardTarget(level.name, run.temperature)
    curve = {name: [row.get(name) for row in result.rows] for name in ("step", "loss", "val_loss", "effective_winners")}
    name = "confgf-noise" if isinstance(model, ConfGFGenerator) and parent.name == model.name else parent.name
    return dataclasses.replace(
        parent,
        name=f"{name}-{run.loss}",
        sha256="",
        elements=sorted({int(z) for graph in graphs for z in graph.numbers} | set(parent.elements)),
        min_atoms=min([parent.min_atoms, *map(len, graphs)]),
        max_atoms=max([parent.max_atoms, *map(len, graphs)]),
        trained_on=sorted({molecule_hash(graph.constitution) for graph in graphs} | set(parent.trained_on)),
        data=[{"molecules": len(learnt), "conformations": sum(map(len, learnt)), "level": level.name}],
        training=dataclasses.asdict(run) | {"best_round": result.best_round, "curve": curve},
        parent=parent.lineage(),
        target=target,
    )

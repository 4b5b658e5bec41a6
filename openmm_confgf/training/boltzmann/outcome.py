"""What a training of a Boltzmann generator leaves: weights, what their card says, and the verdict of fresh samples."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...checksums import molecule_hash
from ...ensemble import Ensemble
from ...generators.equilibrium import EquilibriumGenerator
from ...models.cards import Card, CardTarget
from ...models.registry import describe_network
from ...molecules.graph import MolecularGraph
from ...reweighting import Reweighted, reweight
from ...thermodynamics.convergence import AGREEMENT
from ..step_rounds import Row

OWN_SAMPLES = "the weights to start from"
"""What made the frames, where nothing was simulated."""


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


def tell_frames(frames: Ensemble) -> dict[str, Any]:
    """What a card says of frames that were learnt from.

    Parameters
    ----------
    frames : Ensemble
    """
    agreement = {name: frames.diagnostics.get(name) for name in ("r_hat_energy", "r_hat_torsions")}
    said = {"frames": len(frames), "generator": frames.provenance.generator}
    return said | {name: value if value is not None and math.isfinite(value) else None for name, value in agreement.items()}


def run_identity(graph: MolecularGraph, system_sha256: str | None, target: CardTarget, run: Any, parent: Card | None) -> dict[str, Any]:
    """What must not change between two parts of a run; how long it takes may.

    Parameters
    ----------
    graph : MolecularGraph
    system_sha256 : str or None
        Of the target.
    target : CardTarget
    run : dataclass
        Its settings.
    parent : Card or None
        Of the weights that it starts from.
    """
    settings = {name: value for name, value in dataclasses.asdict(run).items() if name not in ("minutes", "rounds", "until_ess")}
    return {
        "molecule": molecule_hash(graph.smiles),
        "system": system_sha256,
        **dataclasses.asdict(target),
        "parent": parent and parent.sha256,
        **settings,
    }


def card_of_run(
    name: str,
    graph: MolecularGraph,
    network: nn.Module,
    target: CardTarget,
    data: Mapping[str, Any],
    run: Any,
    rows: list[Row],
    parent: Card | None,
) -> Card:
    """The card of weights that were trained on one molecule.

    Parameters
    ----------
    name : str
    graph : MolecularGraph
    network : torch.nn.Module
    target : CardTarget
    data : mapping
        As `tell_frames` gives it.
    run : dataclass
        Its settings.
    rows : list of dict
        The log.
    parent : Card or None
        Of the weights that it started from.
    """
    architecture, config = describe_network(network)
    looked_at = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in ("step", "seconds", "energies")]
    curve = {name: [row.get(name) for row in rows] for name in looked_at}
    sizes = [len(graph), *((parent.min_atoms, parent.max_atoms) if parent else ())]
    return Card(
        name=name,
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


def tested(
    generator: EquilibriumGenerator[Any, Any],
    weights: Path,
    graph: MolecularGraph,
    count: int,
    seed: int,
    device: str,
    rows: list[Row],
    data: Mapping[str, Any],
) -> BoltzmannResult:
    """Weigh fresh samples of weights that were trained.

    Parameters
    ----------
    generator : EquilibriumGenerator
        With the weights.
    weights : Path
    graph : MolecularGraph
    count : int
        Of samples.
    seed : int
    device : str
    rows : list of dict
        The log.
    data : mapping
        As `tell_frames` gives it.
    """
    samples = generator.sample(graph, count, seed=seed, device=device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the verdict says the same
        found = reweight(samples, generator.temperature)
    return BoltzmannResult(weights, found, largest_r_hat(data), rows, found.diagnostics.verdict + beyond_weights(data))


def largest_r_hat(data: Mapping[str, Any]) -> float:
    """Of the energies and the torsions of the frames; NaN where it is not known.

    Parameters
    ----------
    data : mapping
        As `tell_frames` gives it, or a card holds it.
    """
    known = [value for name in ("r_hat_energy", "r_hat_torsions") if isinstance(value := data.get(name), float) and math.isfinite(value)]
    return max(known, default=math.nan)


def beyond_weights(data: Mapping[str, Any]) -> str:
    """What weights cannot show, in sentences that follow their verdict: a mode that the frames lack is lacking in the samples.

    Parameters
    ----------
    data : mapping
        As of `largest_r_hat`.
    """
    said, worst = "", largest_r_hat(data)
    if worst > AGREEMENT:
        said += (
            f" The replicas of the simulation do not agree (R-hat {worst:.2f}, above {AGREEMENT}): conformations may be missing, "
            "which weights cannot show; train longer."
        )
    if data.get("generator") == OWN_SAMPLES:
        said += " Nothing was simulated: conformations that the weights to start from never draw are missing, which weights cannot show."
    return said

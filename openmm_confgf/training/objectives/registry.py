"""The presets of training runs: each is an objective, which says what network it trains.

Nothing else chooses an objective. One from outside is `register_objective`-ed before it is trained.
"""

from __future__ import annotations

from typing import Any

from ...errors import ConfGFError
from ...models.registry import NETWORKS
from .base import VALIDATION_LOSS, Objective
from .denoising import Denoising
from .distance_scores import DistanceScores
from .energy_denoising import EnergyDenoising

PRESETS: dict[str, Objective[Any, Any]] = {
    "confgf": Denoising(),
    "confgf-paper": DistanceScores(),
    "confgf-potential": EnergyDenoising(),
}
"""Each objective under the name of its preset, which is also that of the weights; the first of an architecture is its default."""


def register_objective(preset: str, objective: Objective[Any, Any]) -> None:
    """Have runs know another preset from now on, in this process.

    Parameters
    ----------
    preset : str
    objective : Objective

    Raises
    ------
    ConfGFError
        If the preset exists, the objective's network is not registered, or its parts have names that a log could not tell apart.
    """
    if PRESETS.get(preset, objective) != objective:
        raise ConfGFError(f"The preset {preset!r} is another objective already; register yours under another name.")
    if objective.architecture not in NETWORKS:
        raise ConfGFError(
            f"The preset {preset!r} trains the unknown network {objective.architecture!r}; register it first, with "
            "models.registry.register_network."
        )
    names = [part.name for part in objective.parts]
    if wrong := [name for name in names if not name.startswith("val_") or name == VALIDATION_LOSS or names.count(name) > 1]:
        raise ConfGFError(f"The preset {preset!r} has parts {', '.join(wrong)}; give each a name of its own that begins with val_.")
    PRESETS[preset] = objective


def find_objective(preset: str) -> Objective[Any, Any]:
    """The objective of a preset.

    Parameters
    ----------
    preset : str

    Returns
    -------
    Objective

    Raises
    ------
    ConfGFError
        If there is no such preset.
    """
    if preset not in PRESETS:
        raise ConfGFError(f"The preset {preset!r} is unknown; use one of {', '.join(PRESETS)}.")
    return PRESETS[preset]


def presets_of(architecture: str) -> list[str]:
    """The presets that train a network, its default first.

    Parameters
    ----------
    architecture : str
        As a card names it.

    Returns
    -------
    list of str

    Raises
    ------
    ConfGFError
        If there is none.
    """
    if not (found := [preset for preset, objective in PRESETS.items() if objective.architecture == architecture]):
        raise ConfGFError(
            f"No preset trains a {architecture}, only {', '.join(sorted({o.architecture for o in PRESETS.values()}))}; register its "
            "objective with training.objectives.registry.register_objective."
        )
    return found

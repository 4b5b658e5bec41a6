"""Where what a report shows comes from: rows for its end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..checksums import sha256_of
from ..ensemble import Ensemble
from ..models.cards import Card
from ..version import __version__
from .text import shortened

Row = tuple[str, str]
"""A name and what is said under it."""

_LONGEST = 600
_MOST_SETTINGS = 60


def of_file(path: Path) -> list[Row]:
    """What was read, and by what.

    Parameters
    ----------
    path : Path
        A file, or the folder of a run.
    """
    rows = [("read from", path.name)]
    if path.is_file():
        rows.append(("its SHA-256", sha256_of(path)))
    return [*rows, ("report made by", f"openmm_confgf {__version__}")]


def of_ensemble(ensemble: Ensemble) -> list[Row]:
    """Molecule, origin and diagnostics of an ensemble.

    Parameters
    ----------
    ensemble : Ensemble
    """
    graph = ensemble.graph
    molecule = [("name", shortened(graph.name, _LONGEST)), ("SMILES", shortened(graph.smiles, _LONGEST))]
    return [*molecule, *of_origin(ensemble), *of_mapping(ensemble.diagnostics)]


def of_origin(ensemble: Ensemble) -> list[Row]:
    """Generator, target and settings, which the ensembles of a library share.

    Parameters
    ----------
    ensemble : Ensemble
    """
    made, target = ensemble.provenance, ensemble.target
    rows = [("generator", shortened(made.generator, _LONGEST)), ("version", shortened(made.version))]
    if made.seed is not None:
        rows.append(("seed", str(made.seed)))
    if made.weights_sha256 is not None:
        rows.append(("SHA-256 of its weights", shortened(made.weights_sha256)))
    if target is not None:
        rows.append(("energies in", shortened(target.forcefield or "a System of one's own")))
        if target.system_sha256 is not None:
            rows.append(("SHA-256 of the System", shortened(target.system_sha256)))
        if target.temperature is not None:
            rows.append(("temperature", f"{target.temperature:g} K"))
    return [*rows, *of_mapping(made.settings)]


def of_card(card: Card) -> list[Row]:
    """What the card of weights says, without its long lists.

    Parameters
    ----------
    card : Card
    """
    rows = [
        ("weights", shortened(card.name)),
        ("SHA-256 of the weights", shortened(card.sha256)),
        ("network", shortened(card.architecture)),
        ("trained on", f"{len(card.trained_on):,} molecules of {card.min_atoms} to {card.max_atoms} atoms"),
        ("data", told(card.data)),
    ]
    if card.target is not None:
        rows.append(("made to sample", shortened(str(card.target))))
    if card.parent is not None:
        rows.append(("started from", shortened(f"{card.parent.get('name')}, SHA-256 {card.parent.get('sha256')}")))
    training = {name: value for name, value in card.training.items() if name != "curve"}
    return [*rows, *of_mapping(card.config), *of_mapping(training), *of_mapping(card.settings)]


def of_mapping(settings: Mapping[str, Any]) -> list[Row]:
    """A row for each setting.

    Parameters
    ----------
    settings : mapping of str to object
        In JSON's types.
    """
    rows = [(shortened(str(name).replace("_", " "), 80), told(value)) for name, value in list(settings.items())[:_MOST_SETTINGS]]
    if len(settings) > _MOST_SETTINGS:
        rows.append(("and", f"{len(settings) - _MOST_SETTINGS} more"))
    return rows


def told(value: Any) -> str:
    """A setting in words: texts and numbers as they are, and what is nested as JSON.

    Parameters
    ----------
    value : object
        In JSON's types.

    Examples
    --------
    >>> told("cpu"), told(0.25), told(True), told([1, None])
    ('cpu', '0.25', 'yes', '[1, null]')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:g}"
    return shortened(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str), _LONGEST)

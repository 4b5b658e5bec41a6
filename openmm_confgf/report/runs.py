"""The page of a training and that of an alignment, from what their folders hold."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ..alignment.before_after import BeforeAfter
from ..errors import FileFormatError
from ..files import read_ensembles
from ..models.cards import Card, read_card
from ..plots.alignment import LABELS, alignment_figure
from ..plots.boltzmann import boltzmann_figure
from ..plots.training import read_log, training_figure
from ..tables import Column, Table
from ..training.boltzmann.outcome import beyond_weights
from ..training.objectives.registry import find_objective
from . import provenance
from .conformations import ensemble_page
from .page import Page
from .pictures import Picture, as_address
from .statement import Fact, Statement
from .text import shortened

Rows = list[dict[str, Any]]


def run_page(folder: Path) -> Page:
    """The report of a run.

    Parameters
    ----------
    folder : Path
        Of `train` (with any network), or of `align`; with a ``log.jsonl``.

    Raises
    ------
    FileFormatError
        If its log, its comparison or its samples cannot be read, or are of no run that is known here.
    WeightsError
        If its card cannot be read.
    """
    rows, card = read_log(folder / "log.jsonl"), _card(folder)
    try:
        if any("effective_winners" in row for row in rows):
            return _alignment_page(folder, rows, card)
        if any("round" in row for row in rows):
            return _boltzmann_page(folder, rows, card)
        return _training_page(folder, rows, card)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        problem, log = f"{type(error).__name__} {shortened(str(error))}", folder / "log.jsonl"
        raise FileFormatError(f"{log} is not the log of a run of this package ({problem}); give the folder of one.") from error


def _training_page(folder: Path, rows: Rows, card: Card | None) -> Page:
    preset = card.training.get("preset", card.name) if card else _json(folder / "run.json").get("preset")
    objective = find_objective(str(preset))
    known = [row for row in rows if _number(row.get("val_loss")) is not None]
    facts = [*_run_facts(rows, card)]
    headline = "This is a training without samples: there are no averages to trust."
    if known:
        best = min(known, key=lambda row: row["val_loss"])
        facts.insert(0, Fact("lowest validation loss", f"{best['val_loss']:.4g} at step {best['step']:,.0f}"))
        headline += f" Its validation loss went from {known[0]['val_loss']:.4g} to {best['val_loss']:.4g}."
    pictures = [_figure(objective.title, "Losses against the steps.", lambda stacked: training_figure(rows, objective, stacked))]
    return Page(
        title=shortened(folder.resolve().name),
        subtitle=f"training of {preset}",
        statement=Statement("plain", headline, tuple(facts)),
        provenance=_provenance(folder, card),
        pictures=pictures,
        notes=_unfinished(card),
    )


def _boltzmann_page(folder: Path, rows: Rows, card: Card | None) -> Page:
    seen = [row for row in rows if "k_hat" in row]
    alt = "Effective share and k-hat of fresh samples, and what else the rounds were looked at by, against the rounds."
    pictures = [_figure("Training", alt, lambda stacked: boltzmann_figure(rows, stacked))] if seen else []
    facts, samples = _run_facts(rows, card), folder / "samples.h5"
    source, title = _provenance(folder, card), shortened(folder.resolve().name)
    if not samples.exists():
        ess = f"{100 * seen[-1]['ess']:.3g} %" if seen and seen[-1]["ess"] is not None else "withheld"
        last = f" In the last round that was looked at, effective samples were {ess}, k-hat {seen[-1]['k_hat']:.2f}." if seen else ""
        headline = f"These averages cannot be trusted yet, because the training has not drawn the samples that are to be weighed.{last}"
        notes = _unfinished(card)
        return Page(title, "training of a Boltzmann generator", Statement("bad", headline, facts), source, pictures=pictures, notes=notes)
    (ensemble,) = read_ensembles(samples)
    page = ensemble_page(ensemble, source)
    beyond = beyond_weights(card.data[0]) if card and card.data else ""
    statement = dataclasses.replace(page.statement, headline=page.statement.headline + beyond, facts=(*page.statement.facts, *facts))
    return dataclasses.replace(
        page,
        title=title,
        subtitle=f"training of a Boltzmann generator of {page.title}",
        statement=statement,
        pictures=[*pictures, *page.pictures],
        notes=[*page.notes, *_unfinished(card)],
    )


def _alignment_page(folder: Path, rows: Rows, card: Card | None) -> Page:
    compared = _comparisons(folder / "comparison.json")
    last, best = rows[-1], card.training.get("best_round") if card else None
    before = f"the loss of molecules that are held out was {last['start_loss']:.4g} before"
    if best is None:
        headline = f"This alignment is not finished: {before} and is {last['val_loss']:.4g} after round {last['round']}."
    elif best:
        chosen = next(row for row in rows if row["round"] == best)
        headline = f"The weights are those of round {best}: {before} and is {chosen['val_loss']:.4g} with them."
    else:
        headline = f"No round was better on the molecules that are held out, and the weights are those that it started from: {before}."
    facts = (
        Fact("effective winners", f"{last['effective_winners']:.1f}"),
        Fact("molecules compared before and after", f"{len(compared)}"),
        *_run_facts(rows, card),
    )
    alt = "The loss against the steps, and each compared value of the molecules held out before and after."
    figure = _figure("Alignment", alt, lambda stacked: alignment_figure(rows, compared, stacked))
    return Page(
        title=shortened(folder.resolve().name),
        subtitle="alignment of a generator to energies",
        statement=Statement("plain", headline, facts),
        provenance=_provenance(folder, card),
        pictures=[figure],
        tables=[("Molecules that were held out, before and after", _before_and_after(compared))] if compared else [],
        notes=_unfinished(card),
    )


def _before_and_after(compared: list[BeforeAfter]) -> Table:
    keys = [key for key in LABELS if any(key in one.before for one in compared)]
    columns = [Column("molecule", align="left")]
    columns += [Column(f"{LABELS[key]}, {when}", layout="{:.3g}") for key in keys for when in ("before", "after")]
    rows = [
        [shortened(one.molecule), *(_number(side.get(key)) for key in keys for side in (one.before, one.after))]  #
        for one in compared
    ]
    return Table(columns, rows)


def _comparisons(path: Path) -> list[BeforeAfter]:
    if not path.exists():
        return []
    try:
        found = [BeforeAfter(**entry) for entry in json.loads(path.read_text())]
        return [BeforeAfter(str(one.molecule), dict(one.before), dict(one.after)) for one in found]
    except (OSError, ValueError, TypeError) as error:
        raise FileFormatError(f"{path} is damaged ({error}); delete it to see the log alone.") from error


def _run_facts(rows: Rows, card: Card | None) -> tuple[Fact, ...]:
    hours = sum(_number(row.get("seconds")) or 0.0 for row in rows) / 3600
    facts = (Fact("rounds", f"{len(rows):,}"), Fact("steps", f"{rows[-1]['step']:,.0f}"), Fact("time of training", f"{hours:.2f} h"))
    return facts if card is None else (*facts, Fact("weights", shortened(card.name, 40)))


def _unfinished(card: Card | None) -> list[str]:
    return [] if card else ["The folder has no weights with a card: the run is not finished."]


def _provenance(folder: Path, card: Card | None) -> list[provenance.Row]:
    rows = provenance.of_card(card) if card else provenance.of_mapping(_json(folder / "run.json"))
    return [*rows, *provenance.of_file(folder)]


def _card(folder: Path) -> Card | None:
    weights = sorted(path for path in folder.glob("*.safetensors") if path.with_suffix(".json").exists())
    return read_card(weights[0].with_suffix(".json")) if weights else None


def _json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise FileFormatError(f"{path} is damaged ({error}); delete it to see the log alone.") from error


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _figure(title: str, alt: str, draw: Callable[[bool], Figure]) -> Picture:
    """The panels of a figure in a row for wide pages, and stacked for narrow ones."""
    wide, narrow = as_address(draw(False)), as_address(draw(True))
    return Picture(title, alt, wide) if wide == narrow else Picture(title, alt, wide, narrow, wide=True)

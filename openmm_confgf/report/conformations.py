"""The page of an ensemble, and that of a library of them."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Iterable, Sequence

from ..ensemble import Ensemble
from ..errors import ConfGFError
from ..molecules.depiction import depiction_svg
from ..reweighting import Reweighted, reweight
from . import provenance
from .explorer import MOST_ATOMS, explored
from .page import Listed, Page
from .pictures import ensemble_pictures, weight_pictures
from .provenance import Row
from .statement import NO_LOG_Q, NO_WEIGHTS, Fact, Statement, unweighed, weighed
from .text import shortened

MOST_MOLECULES = 1000
"""Of a library that are listed."""

MOST_EACH = 20
"""Conformations of each molecule of a library that are shown one by one."""


def ensemble_page(ensemble: Ensemble, source: Sequence[Row] = ()) -> Page:
    """The report of one ensemble; the same whether it was read or has just been made.

    Parameters
    ----------
    ensemble : Ensemble
    source : sequence of (str, str)
        Where it was read from, as `provenance.of_file`.
    """
    found = weights_of(ensemble)
    pictures = ensemble_pictures(ensemble)
    notes: list[str] = []
    if isinstance(found, Reweighted):
        statement, log_weights = weighed(found), found.log_weights
        more, notes = weight_pictures(found)
        pictures = [*more, *pictures]
    else:
        statement, log_weights = unweighed(ensemble, found), None
    shown = explored(ensemble, log_weights)
    if bad := int((~ensemble.ok).sum()):
        notes.append(f"{bad:,} bad samples are left out of the viewer, the table and the pictures of energies and torsions.")
    return Page(
        title=shortened(ensemble.graph.name),
        subtitle=f"{len(ensemble):,} conformations of {len(ensemble.graph)} atoms",
        statement=statement,
        provenance=[*provenance.of_ensemble(ensemble), *source],
        molecules=[shown],
        pictures=pictures,
        notes=notes,
    )


def weights_of(ensemble: Ensemble) -> Reweighted | str:
    """An ensemble with its Boltzmann weights, or why it has none, as the end of a sentence.

    Parameters
    ----------
    ensemble : Ensemble
    """
    if ensemble.log_q is None:
        return NO_LOG_Q
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the page says the same
            return reweight(ensemble)
    except ConfGFError as error:
        return str(error).rstrip(".")


def library_page(outcomes: Iterable[Ensemble | ConfGFError], title: str, source: Sequence[Row] = ()) -> Page:
    """The report of many molecules, of which one is in memory at a time: an index, and some conformations of each.

    Parameters
    ----------
    outcomes : iterable of Ensemble or ConfGFError
        An error is a molecule that failed.
    title : str
    source : sequence of (str, str)
        As in `ensemble_page`.
    """
    rows: list[Listed] = []
    shown: list[dict[str, object]] = []
    counts = dict.fromkeys(("molecules", "failed", "conformations", "bad", "weighed", "trusted"), 0)
    atoms = 0
    last: Ensemble | None = None
    for outcome in outcomes:
        counts["molecules"] += 1
        if isinstance(outcome, ConfGFError):
            counts["failed"] += 1
            if len(rows) < MOST_MOLECULES:
                rows.append(Listed(f"molecule {counts['molecules']}", problem=shortened(str(outcome), 400)))
            continue
        last = outcome
        counts["conformations"] += len(outcome)
        counts["bad"] += int((~outcome.ok).sum())
        found = weights_of(outcome)
        if isinstance(found, Reweighted):
            counts["weighed"] += 1
            counts["trusted"] += found.diagnostics.trusted
        if len(rows) == MOST_MOLECULES:
            continue
        place = None
        if outcome.ok.any() and atoms + len(outcome.graph) <= 2 * MOST_ATOMS:
            place = len(shown)
            shown.append(explored(outcome, found.log_weights if isinstance(found, Reweighted) else None, MOST_EACH))
            atoms += shown[-1]["count"] * len(outcome.graph)  # type: ignore[operator]  # an int
        rows.append(listed(outcome, found, place))
    failed, others = counts["failed"], counts["molecules"] - len(rows)
    every = f"{counts['molecules']:,} molecules"
    notes = [f"The first {len(rows):,} of {every} are listed; give a file of fewer for the others."] if others else []
    facts = [
        Fact("molecules", f"{counts['molecules']:,}"),
        Fact("failed", f"{failed:,}" if failed else "none", failed > 0),
        Fact("conformations", f"{counts['conformations']:,}"),
        Fact("bad samples", f"{counts['bad']:,}" if counts["bad"] else "none", counts["bad"] > 0),
    ]
    return Page(
        title=shortened(title),
        subtitle=every,
        statement=library_statement(counts, facts),
        provenance=[*(provenance.of_origin(last) if last is not None else []), *source],
        molecules=shown,
        index=rows,
        notes=notes,
    )


def library_statement(counts: dict[str, int], facts: list[Fact]) -> Statement:
    """Of how many molecules averages can be trusted.

    Parameters
    ----------
    counts : dict of str to int
    facts : list of Fact
    """
    weighed_, trusted = counts["weighed"], counts["trusted"]
    if not weighed_:
        return Statement("plain", f"{NO_WEIGHTS}: {NO_LOG_Q}.", tuple(facts))
    of = f"Averages of {trusted:,} of {weighed_:,} molecules with weights can be trusted"
    headline = f"{of}, because of their k-hat and effective samples; the list says which."
    return Statement("good" if trusted == weighed_ else "bad", headline, tuple(facts))


def listed(ensemble: Ensemble, found: Reweighted | str, place: int | None) -> Listed:
    """A molecule as the index has it.

    Parameters
    ----------
    ensemble : Ensemble
    found : Reweighted or str
        As `weights_of` gives it.
    place : int or None
        Among the molecules that the viewer can show.
    """
    energy = [] if ensemble.energy is None else ensemble.energy[ensemble.ok].tolist()
    return Listed(
        name=shortened(ensemble.graph.name),
        smiles=shortened(ensemble.graph.smiles, 400),
        thumbnail=f"data:image/svg+xml;base64,{base64.b64encode(depiction_svg(ensemble.graph).encode()).decode()}",
        conformations=len(ensemble),
        bad=int((~ensemble.ok).sum()),
        lowest=min(energy, default=None),
        highest=max(energy, default=None),
        verdict=found.diagnostics.verdict if isinstance(found, Reweighted) else "",
        molecule=place,
    )

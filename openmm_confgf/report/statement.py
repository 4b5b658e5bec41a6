"""What stands at the top of a report: whether its averages can be trusted, and the figures that say so."""

from __future__ import annotations

import dataclasses
from typing import Literal

from ..ensemble import Ensemble
from ..reweighting import Reweighted
from ..status import Status
from ..thermodynamics.convergence import AGREEMENT

NO_WEIGHTS = "There are no weights, and averages over these are not averages of equilibrium"

NO_LOG_Q = (
    "there is no log q, since only a generator with a density gives it, and samples that were picked, ranked or minimised have lost it"
)
"""Why conformers have no weights, as the end of a sentence."""


@dataclasses.dataclass(frozen=True)
class Fact:
    """One figure with its name.

    Attributes
    ----------
    label, value : str
    bad : bool
        Whether it is one to worry about.
    """

    label: str
    value: str
    bad: bool = False


@dataclasses.dataclass(frozen=True)
class Statement:
    """The first sentence of a report, and the figures below it.

    Attributes
    ----------
    tone : {"good", "bad", "plain"}
        ``plain`` where there is nothing that could be trusted or not.
    headline : str
    facts : tuple of Fact
    """

    tone: Literal["good", "bad", "plain"]
    headline: str
    facts: tuple[Fact, ...] = ()


def weighed(found: Reweighted) -> Statement:
    """Of samples with weights: the verdict of `thermodynamics.diagnostics`.

    Parameters
    ----------
    found : Reweighted
    """
    said = found.diagnostics
    energy = found.mean_energy()
    known = said.k_hat is not None and said.threshold is not None
    facts = (
        Fact("effective samples (ESS)", "withheld" if said.ess is None else f"{said.ess:,.0f} of {said.n:,}", not said.trusted),
        Fact("k-hat", f"{said.k_hat:.2f}, within {said.threshold:.2f} is good" if known else "unknown: too few samples", said.ess is None),
        *samples(found.ensemble),
        Fact("samples without weight", f"{said.n_bad:,}", said.n_bad > 0),
        Fact("mean energy", f"{energy.value:.2f} ± {energy.error:.2f} kJ/mol"),
        Fact("temperature", f"{found.temperature:g} K"),
    )
    if said.trusted:
        return Statement("good", f"These averages can be trusted where the generator has samples, because {said.reason}", facts)
    return Statement("bad", f"These averages cannot be trusted, because {said.reason}", facts)


def unweighed(ensemble: Ensemble, reason: str) -> Statement:
    """Of conformations without weights.

    Parameters
    ----------
    ensemble : Ensemble
    reason : str
        Why there are none, as the end of a sentence.
    """
    facts = [*samples(ensemble)]
    if ensemble.energy is not None and ensemble.ok.any():
        energy = ensemble.energy[ensemble.ok]
        facts.append(Fact("energies", f"{energy.min():.1f} to {energy.max():.1f} kJ/mol"))
    for key, label in (("r_hat_energy", "energies"), ("r_hat_torsions", "torsions")):
        if isinstance(value := ensemble.diagnostics.get(key), float | int):
            facts.append(Fact(f"R-hat of {label}", f"{value:.3f}, within {AGREEMENT} is good", not value <= AGREEMENT))
    return Statement("plain", f"{NO_WEIGHTS}: {reason}.", tuple(facts))


def samples(ensemble: Ensemble) -> tuple[Fact, Fact]:
    """How many there are, and how many of them are bad, by their status.

    Parameters
    ----------
    ensemble : Ensemble
    """
    counts = ensemble.counts()
    bad = {name: count for name, count in counts.items() if name != Status.OK.name}
    named = ", ".join(f"{count:,} {name}" for name, count in bad.items())
    return (
        Fact("conformations", f"{len(ensemble):,}"),
        Fact("bad samples", f"{sum(bad.values()):,} ({named})" if bad else "none", bool(bad)),
    )

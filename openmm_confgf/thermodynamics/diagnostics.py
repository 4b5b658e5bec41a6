"""What weights say of themselves: whether averages with them are to be trusted."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from .effective_sample_size import effective_sample_size
from .normalised import checked_log_weights
from .pareto import FEWEST_SAMPLES, k_hat_threshold, pareto_k
from .truncation import truncated

FEWEST_EFFECTIVE = 50
"""Effective samples below which averages are not trusted, whatever k-hat: among many weights it hardly sees a single one that decides."""


@dataclasses.dataclass(frozen=True)
class WeightDiagnostics:
    """What weights say of themselves. They cannot tell of regions where the proposal has no samples at all.

    Attributes
    ----------
    n : int
        Samples, all of them.
    n_bad : int
        Those without weight: their energy is not finite, or q is infinitely larger than the target.
    ess : float or None
        Kish's effective sample size, after truncation; None where it is withheld, because k-hat is above its threshold or unknown.
    ess_fraction : float or None
        ``ess / n``.
    k_hat : float or None
        `pareto_k` of the weights before truncation; None where fewer than 100 samples have a weight.
    threshold : float or None
        What k-hat must not exceed, `k_hat_threshold`; None with k-hat.
    log_z : float
        Logarithm of the mean weight, after truncation: of the target's normalisation in the measure of q. For samples of a
        `DensityGenerator` and Boltzmann weights, the logarithm of the configuration integral on the mean-free subspace, in nm.
    log_z_error : float or None
        Its standard error, ``sqrt(1 / ESS - 1 / n)``; None where ESS is.
    truncated : int
        How many weights were lowered.
    trusted : bool
        Whether k-hat is known and at most its threshold, and the effective sample size at least `FEWEST_EFFECTIVE`.
    verdict : str
        That in one sentence, with its reason.
    """

    n: int
    n_bad: int
    ess: float | None
    ess_fraction: float | None
    k_hat: float | None
    threshold: float | None
    log_z: float
    log_z_error: float | None
    truncated: int
    trusted: bool
    verdict: str

    @property
    def reason(self) -> str:
        """What the verdict rests on: its words after the first colon."""
        return self.verdict.partition(": ")[2]


def diagnose(log_w: ArrayLike, truncate: float | None = None) -> WeightDiagnostics:
    """Effective sample size, Pareto's k and log Z of weights, and whether they are to be trusted.

    Parameters
    ----------
    log_w : array_like, (B,)
        Logarithms of the weights as `log_weights` gives them; -inf where a weight is zero.
    truncate : float, optional
        The fraction of samples whose weights are lowered, as in `truncated`. k-hat, and with it the trust, is that of the weights before:
        what truncation leaves out does not come back.

    Raises
    ------
    ConfGFError
        If no sample has a weight, one is NaN or +inf, or the fraction is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).standard_normal(10_000)
    >>> found = diagnose(-0.2 * x**2)  # a Gaussian of the variance 1 / 1.4
    >>> found.trusted, round(found.ess_fraction, 2), round(found.log_z, 2)
    (True, 0.96, -0.17)
    """
    raw = checked_log_weights(log_w)
    logs, lowered = (raw, 0) if truncate is None else truncated(raw, truncate)
    n, weighted = len(logs), int(np.isfinite(logs).sum())
    k_hat = pareto_k(raw)
    threshold = None if k_hat is None else k_hat_threshold(weighted)
    ess = effective_sample_size(logs) if k_hat is not None and threshold is not None and k_hat <= threshold else None
    verdict = _verdict(weighted, ess, k_hat, threshold) + (f" {lowered} of {n} weights were truncated." if lowered else "")
    return WeightDiagnostics(
        n=n,
        n_bad=n - weighted,
        ess=ess,
        ess_fraction=None if ess is None else ess / n,
        k_hat=k_hat,
        threshold=threshold,
        log_z=float(logsumexp(logs) - math.log(n)),
        log_z_error=None if ess is None else math.sqrt(max(0.0, 1 / ess - 1 / n)),
        truncated=lowered,
        trusted=ess is not None and ess >= FEWEST_EFFECTIVE,
        verdict=verdict,
    )


def _verdict(weighted: int, ess: float | None, k_hat: float | None, threshold: float | None) -> str:
    if k_hat is None or threshold is None:
        return f"Not to be trusted: {weighted} samples with a weight are fewer than the {FEWEST_SAMPLES} that k-hat needs; draw more."
    if ess is None:
        return (
            f"Not to be trusted: k-hat {k_hat:.2f} is above {threshold:.2f}, so that a few weights decide and larger ones are yet to come; "
            "draw more samples, or train the generator further."
        )
    if ess < FEWEST_EFFECTIVE:
        return (
            f"Not to be trusted: the samples are worth {ess:.1f}, fewer than {FEWEST_EFFECTIVE}, though k-hat {k_hat:.2f} is within "
            f"{threshold:.2f}; draw more, or train the generator further."
        )
    return f"To be trusted where the generator has samples: k-hat {k_hat:.2f} is within {threshold:.2f}, and they are worth {ess:,.0f}."

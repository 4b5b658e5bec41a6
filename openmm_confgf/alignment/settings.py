"""How a generator is aligned."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal, get_args

from ..errors import ConfGFError

Loss = Literal["eba", "dpo", "log-variance", "distillation"]
"""How energies teach: `alignment.losses`, or, of an exact density, what `train boltzmann` has as well."""


@dataclasses.dataclass(frozen=True)
class AlignmentRun:
    """How a generator is aligned.

    Attributes
    ----------
    loss : str
        ``"eba"`` (energy-based alignment) or ``"dpo"`` (preferences between pairs of the K); of an exact density also ``"log-variance"``,
        half of whose samples are chosen by weight, and ``"distillation"``, the likelihood of its own samples, drawn again by their tempered
        weights.
    k : int
        Conformations of a molecule that a step compares.
    alpha : float
        Of the model's energies, as in `eba_loss`. They are in nats, so that 1 is Boltzmann's distribution.
    softness : float
        Of EBA: Boltzmann factors at so many times the temperature are compared with those of model energies divided by as much. The
        minimiser stays, and more conformations share the target.
    anchor : float
        Of models without a density: weight of their likelihood of the conformations, weighted by Boltzmann factors, beside the loss.
        Without it they forget how to draw: their errors grow while the differences become right.
    temperature : float
        K.
    minimised : bool
        Whether energies are those of the minima that the samples fall to, which take their place; else samples are taken as they are.
    length_normalised : bool
        Whether energies are divided by the root of the number of heavy atoms, as in the released code.
    samples : int
        Conformations in the pool of each molecule.
    refresh : int
        Rounds after which a pool is drawn anew from the model as it then is (on-policy), in each round some of them; 0: never (off-policy).
    molecules : int
        Of a step.
    draws : int
        Noise levels for each molecule of a step, of models without a density, as in `Denoised`.
    steps, round_steps : int
        Optimizer steps in all, a multiple of those between two looks at the molecules that are held out.
    learning_rate : float
    extrapolation : float
        The weights end up so many times as far from where they began as the best round brought them (ExPO, Zheng et al. 2024,
        arXiv:2404.16792); the rounds themselves are not changed by it.
    patience : int
        The run stops when the loss of the molecules that are held out has not fallen for so many rounds.
    seed : int

    Raises
    ------
    ConfGFError
        If a value is out of range.
    """

    loss: Loss = "eba"
    k: int = 4
    alpha: float = 1.0
    softness: float = 1.0
    anchor: float = 0.05
    temperature: float = 300.0
    minimised: bool = True
    length_normalised: bool = False
    samples: int = 16
    refresh: int = 0
    molecules: int = 8
    draws: int = 4
    steps: int = 1000
    round_steps: int = 50
    learning_rate: float = 1e-4
    extrapolation: float = 1.0
    patience: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        for name in (
            "alpha",
            "softness",
            "temperature",
            "samples",
            "molecules",
            "draws",
            "steps",
            "round_steps",
            "learning_rate",
            "extrapolation",
            "patience",
        ):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfGFError(f"{name} is {getattr(self, name)}; give a finite number above 0.")
        if not 0 <= self.anchor < math.inf:
            raise ConfGFError(f"anchor is {self.anchor}; give a finite number, or 0 for none.")
        if self.loss not in get_args(Loss):
            raise ConfGFError(f"There is no loss {self.loss!r}; use one of {', '.join(get_args(Loss))}.")
        if self.k < 2 or (self.loss == "dpo" and self.k % 2):
            raise ConfGFError(f"k is {self.k}; give at least 2 conformations to compare, and an even number for dpo.")
        if self.k > self.samples:
            raise ConfGFError(f"{self.k} of {self.samples} samples cannot be compared; draw more samples of each molecule.")
        if self.refresh < 0 or self.seed < 0:
            raise ConfGFError("refresh and seed must be at least 0.")
        if self.steps % self.round_steps:
            raise ConfGFError(f"{self.steps} steps cannot be cut into rounds of {self.round_steps}; give a multiple.")


DEFAULT = AlignmentRun()
"""As the command line has it."""

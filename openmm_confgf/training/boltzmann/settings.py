"""How a Boltzmann generator is trained."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal, get_args

from ...errors import ConfGFError

Tuning = Literal["log-variance", "distillation", "none"]
"""How energies teach: see `objectives.energies`."""


@dataclasses.dataclass(frozen=True)
class BoltzmannRun:
    """How a Boltzmann generator is trained: first on frames, then on energies of its own samples.

    Attributes
    ----------
    minutes : float
        What the rounds may take. The first two are timed, and decide how many there will be; that number is kept when a run is resumed.
    rounds : int, optional
        How many, whatever they take.
    until_ess : float, optional
        End early once this share of the samples is effective, and k-hat says that this can be trusted.
    tuning : str
        ``"log-variance"``, ``"distillation"`` (tempered self-distillation) or ``"none"``.
    frames_share : float
        Share of the rounds that learn from frames alone; at least one, unless it is 0.
    round_steps : int
        Optimizer steps of a round.
    batch_size : int
        Conformations of a step.
    molecules : int
        They are of so many molecules, where there are that many, in a step on frames.
    learning_rate, tuning_rate : float
        Of AdamW, on frames and on energies.
    samples : int
        Drawn anew in each round of energies.
    kept : int
        Rounds whose samples are learnt from: this many, the last ones.
    seed : int
    """

    minutes: float = 45.0
    rounds: int | None = None
    until_ess: float | None = None
    tuning: Tuning = "log-variance"
    frames_share: float = 0.4
    round_steps: int = 40
    batch_size: int = 512
    molecules: int = 4
    learning_rate: float = 2e-3
    tuning_rate: float = 5e-4
    samples: int = 4096
    kept: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("minutes", "round_steps", "batch_size", "molecules", "learning_rate", "tuning_rate", "samples", "kept"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfGFError(f"{name} is {getattr(self, name)}; give a finite number above 0.")
        if self.rounds is not None and self.rounds < 1:
            raise ConfGFError(f"There are {self.rounds} rounds; give at least 1.")
        if self.until_ess is not None and not 0 < self.until_ess < 1:
            raise ConfGFError(f"until_ess is {self.until_ess:g}; give a share of the samples, between 0 and 1.")
        if not 0 <= self.frames_share <= 1:
            raise ConfGFError(f"frames_share is {self.frames_share:g}; give a share of the rounds, from 0 to 1.")
        if self.tuning not in get_args(Tuning):
            raise ConfGFError(f"There is no tuning {self.tuning!r}; use one of {', '.join(get_args(Tuning))}.")
        if self.seed < 0:
            raise ConfGFError(f"The seed is {self.seed}; give one of at least 0.")


AT_A_LEVEL = BoltzmannRun(frames_share=0.0, round_steps=40, samples=2048, kept=16, tuning_rate=3e-4)
"""Where the energies are not a force field's: they cost more than the steps, so that samples are learnt from for longer."""

"""What is trained, how long and how fast."""

from __future__ import annotations

import dataclasses
import math

from ..errors import ConfGFError


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """What is trained, how long and how fast; see `FROM_SCRATCH` and `FINE_TUNING`.

    Attributes
    ----------
    preset : str
        What is learnt, and by which network: a name of `training.objectives.registry.PRESETS`. ``"confgf"`` is a PairField on noisy
        positions, ``"confgf-paper"`` the published network on noisy distances, ``"confgf-potential"`` an `EnergyField` at one noise.
    steps : int
        Optimizer steps at most, a multiple of `round_steps`.
    round_steps : int
        Steps between two checkpoints and validations.
    learning_rate : float
    pair_budget : int
        Atom pairs in a batch, over all of its conformations.
    seed : int
        Decides the initial weights, the batches and the noise.
    patience : int
        The run stops when the validation loss has not fallen for so many rounds, and ends with the averaged weights of its best round.
        0: it makes all steps and ends with the last averaged weights.

    Raises
    ------
    ConfGFError
        If a value is out of range.
    """

    preset: str = "confgf"
    steps: int = 40_000
    round_steps: int = 500
    learning_rate: float = 2e-3
    pair_budget: int = 7500
    seed: int = 0
    patience: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "round_steps", "learning_rate", "pair_budget"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfGFError(f"{name} is {getattr(self, name)}; give a finite number above 0.")
        if self.seed < 0:
            raise ConfGFError(f"The seed is {self.seed}; give one of at least 0.")
        if self.patience < 0:
            raise ConfGFError(f"patience is {self.patience}; give a number of rounds, or 0 for no early stop.")
        if self.steps % self.round_steps:
            raise ConfGFError(f"{self.steps} steps cannot be cut into rounds of {self.round_steps}; give a multiple.")


FROM_SCRATCH = RunConfig()
"""Defaults of a run that starts from random weights."""

FINE_TUNING = RunConfig(steps=1000, round_steps=50, learning_rate=3e-4, patience=5)
"""Defaults of a run that starts from other weights."""

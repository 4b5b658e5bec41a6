"""How a flow of all atoms is trained."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal, get_args

from ...errors import ConfGFError
from ...generators.tbg.atom_types import VARIANTS

Coupling = Literal["independent", "optimal"]
"""Which noise belongs to which molecule: any, as published, or the nearest that is found."""


@dataclasses.dataclass(frozen=True)
class FlowRun:
    """How a transferable Boltzmann generator is trained, by flow matching on frames; defaults are those published for one molecule.

    Attributes
    ----------
    minutes : float
        What the rounds may take, as in `StepRounds`.
    rounds : int, optional
        How many, whatever they take.
    variant : str
        Of `atom_types`.
    width, layers : int
        Of the `EGNN`: 64 and 5 published for one molecule, 128 and 9 for dipeptides.
    scale : float
        Lengths of the network are nm times this: 10 published for alanine dipeptide, 30 for dipeptides.
    coupling : str
        ``"independent"``, or ``"optimal"``.
    upweighted : bool
        Whether frames with phi > 0 of the first residue are seen as often as all others together (biased training).
    round_steps : int
        Optimizer steps of a round.
    batch_size : int
        Conformations of a step, of up to `molecules` molecules.
    molecules : int
    learning_rate : float
        Of the first half of the steps; a tenth of it afterwards.
    samples : int
        Fresh ones that are looked at in the end and four times before; too few for a k-hat that tells much.
    seed : int
    """

    minutes: float = 45.0
    rounds: int | None = None
    variant: str = "graph"
    width: int = 64
    layers: int = 5
    scale: float = 10.0
    coupling: Coupling = "independent"
    upweighted: bool = False
    round_steps: int = 50
    batch_size: int = 256
    molecules: int = 16
    learning_rate: float = 5e-4
    samples: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("minutes", "width", "layers", "scale", "round_steps", "batch_size", "molecules", "learning_rate", "samples"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfGFError(f"{name} is {getattr(self, name)}; give a finite number above 0.")
        if self.rounds is not None and self.rounds < 1:
            raise ConfGFError(f"There are {self.rounds} rounds; give at least 1.")
        if self.variant not in VARIANTS:
            raise ConfGFError(f"There is no variant {self.variant!r} of atom types; use one of {', '.join(VARIANTS)}.")
        if self.coupling not in get_args(Coupling):
            raise ConfGFError(f"There is no coupling {self.coupling!r}; use one of {', '.join(get_args(Coupling))}.")
        if self.seed < 0:
            raise ConfGFError(f"The seed is {self.seed}; give one of at least 0.")

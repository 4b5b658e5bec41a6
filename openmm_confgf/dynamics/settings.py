"""What decides a simulation besides the molecule, its force field and the seed."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

import torch

from ..errors import ConfGFError
from ..units import in_md_units

PRECISIONS = {"single": (torch.float32, torch.float32), "mixed": (torch.float64, torch.float32), "double": (torch.float64, torch.float64)}
"""Types of the replicas' positions, and of their forces, under OpenMM's names."""


@dataclasses.dataclass(frozen=True)
class MDSettings:
    """What decides a simulation besides the molecule, its force field and the seed. Numbers may be Quantities.

    Attributes
    ----------
    temperature : float
        K; frames are of this temperature.
    ladder : tuple of float
        Temperatures of replica exchange in K, in increasing order, the first of them `temperature`; by default that alone. Each replica
        is then one such ladder.
    replicas : int
    timestep : float
        ps. Nothing is constrained: hydrogens allow 1 fs, or 2 fs with their masses tripled.
    friction : float
        1/ps.
    frame_interval : float
        ps between frames.
    equilibration : float
        ps before the first frame.
    exchange_interval : float
        ps between attempts of exchange.
    precision : str
        ``"single"``, ``"mixed"`` (forces in single precision, motion in double) or ``"double"``, as OpenMM names them.
    compiled : bool
        As in `BatchedEnergy`.

    Raises
    ------
    ConfGFError
        If a number is out of range.
    """

    temperature: float = 300.0
    ladder: tuple[float, ...] = ()
    replicas: int = 16
    timestep: float = 0.001
    friction: float = 1.0
    frame_interval: float = 1.0
    equilibration: float = 20.0
    exchange_interval: float = 0.1
    precision: Literal["single", "mixed", "double"] = "mixed"
    compiled: bool = True

    def __post_init__(self) -> None:
        for name in ("temperature", "timestep", "friction", "frame_interval", "equilibration", "exchange_interval"):
            object.__setattr__(self, name, float(in_md_units(getattr(self, name))))
        object.__setattr__(self, "ladder", tuple(float(t) for t in in_md_units(list(self.ladder))) or (self.temperature,))
        lengths = (*self.ladder, self.temperature, self.timestep, self.friction, self.frame_interval, self.exchange_interval)
        if not all(0 < value < math.inf for value in lengths) or not 0 <= self.equilibration < math.inf:
            raise ConfGFError("Temperatures, timestep, friction and intervals of a simulation must be finite and above 0.")
        if self.ladder[0] != self.temperature or any(low >= high for low, high in zip(self.ladder, self.ladder[1:], strict=False)):
            raise ConfGFError(
                f"The ladder {self.ladder} does not rise from {self.temperature:g} K; begin it with the temperature of the frames."
            )
        if self.replicas < 1:
            raise ConfGFError(f"{self.replicas} replicas were asked for; ask for at least 1.")
        if self.precision not in PRECISIONS:
            raise ConfGFError(f"The precision {self.precision!r} is unknown; give {', '.join(PRECISIONS)}.")
        if self.steps(self.frame_interval) < 1 or self.steps(self.exchange_interval) < 1:
            raise ConfGFError(f"An interval is shorter than the timestep of {self.timestep:g} ps; make it longer.")
        self.steps(self.equilibration)

    def steps(self, length: float) -> int:
        """How many steps a time takes.

        Parameters
        ----------
        length : float
            ps.

        Raises
        ------
        ConfGFError
            If it takes no whole number of them.
        """
        steps = round(length / self.timestep)
        if steps and not math.isclose(steps * self.timestep, length, rel_tol=1e-6):
            raise ConfGFError(f"{length:g} ps are no whole number of timesteps of {self.timestep:g} ps; give a multiple.")
        return steps

    def as_settings(self) -> dict[str, Any]:
        """All of it, for `Provenance.settings`."""
        return dataclasses.asdict(self) | {"ladder": list(self.ladder)}

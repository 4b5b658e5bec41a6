"""Flows in time: positions and log densities from 0 to 1 or back, each sample with its own steps."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from ..errors import ConfGFError

Derivative = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Velocity (b, N, 3) and rate of change of the log density (b,) from times (b,), positions (b, N, 3) and the samples' rows (b,)."""


@dataclasses.dataclass(frozen=True)
class Tableau:
    """Coefficients of an explicit Runge-Kutta method.

    Attributes
    ----------
    nodes : tuple of float
        When each stage is, in steps.
    matrix : tuple of tuples of float
        How much of each earlier stage is in it.
    weights : tuple of float
        How much of each stage is in the step.
    """

    nodes: tuple[float, ...]
    matrix: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]


HEUN = Tableau((0, 1), ((), (1,)), (1 / 2, 1 / 2))
"""Heun's method of order 2."""

RUNGE_KUTTA_4 = Tableau((0, 1 / 2, 1 / 2, 1), ((), (1 / 2,), (0, 1 / 2), (0, 0, 1)), (1 / 6, 1 / 3, 1 / 3, 1 / 6))
"""The classical method of order 4."""

DORMAND_PRINCE = Tableau(
    (0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1),
    (
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
    (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0),
)
"""Order 5; its last stage is the first of the next step (Dormand & Prince 1980, doi:10.1016/0771-050X(80)90013-3)."""

_FOURTH_ORDER = (5179 / 57600, 0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40)
"""Weights of the method of order 4 on the stages of `DORMAND_PRINCE`; what both differ by is the error."""

_SAFETY, _SMALLEST, _LARGEST = 0.9, 0.2, 10.0
"""Share of the step that the error would allow, and the limits of the change of a step (Hairer, Norsett & Wanner 1993, section II.4)."""

_STUCK = 1e-13
"""A step shorter than this is no step."""


@dataclasses.dataclass(frozen=True)
class Integrated:
    """Samples at the end.

    Attributes
    ----------
    positions : Tensor of float64, (B, N, 3)
        Those that did not come to the end are where they stopped.
    change : Tensor of float64, (B,)
        Of the log density.
    evaluations : Tensor of int64, (B,)
        How often each sample's derivative was asked for.
    converged : Tensor of bool, (B,)
        False where the steps ran out or a number was not finite.
    """

    positions: Tensor
    change: Tensor
    evaluations: Tensor
    converged: Tensor


class Integrator(abc.ABC):
    """A method that carries samples from one end of time to the other."""

    @abc.abstractmethod
    def integrate(self, derivative: Derivative, positions: Tensor, *, to: Literal[0, 1], atoms: Tensor | None = None) -> Integrated:
        """From time ``1 - to`` to time `to`. Both states are held in float64, whatever the derivative is worked out in.

        Parameters
        ----------
        derivative : Derivative
            By increasing time, in either direction.
        positions : Tensor, (B, N, 3)
        to : 0 or 1
        atoms : Tensor of int64, (B,), optional
            Number of atoms of each sample without its padding, which must not move; N by default.

        Returns
        -------
        Integrated
        """


@dataclasses.dataclass(frozen=True)
class FixedSteps(Integrator):
    """Equal steps.

    Attributes
    ----------
    steps : int
    method : {"rk4", "heun"}
        Of order 4 and with four evaluations a step, or of order 2 and with two.
    """

    steps: int = 20
    method: Literal["rk4", "heun"] = "rk4"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfGFError(f"A flow cannot be integrated in {self.steps} steps; give 1 or more.")
        if self.method not in ("rk4", "heun"):
            raise ConfGFError(f"The method {self.method!r} is unknown; use rk4 or heun, or AdaptiveSteps.")

    def integrate(self, derivative: Derivative, positions: Tensor, *, to: Literal[0, 1], atoms: Tensor | None = None) -> Integrated:
        """As `Integrator.integrate`.

        Parameters
        ----------
        derivative : Derivative
        positions : Tensor, (B, N, 3)
        to : 0 or 1
        atoms : Tensor of int64, (B,), optional
            Not needed.

        Returns
        -------
        Integrated
        """
        tableau = {"rk4": RUNGE_KUTTA_4, "heun": HEUN}[self.method]
        system, state = _System(derivative, positions.shape[1:]), _start(positions)
        rows = torch.arange(len(state), device=state.device)
        step = state.new_full((len(state),), (2 * to - 1) / self.steps)
        for k in range(self.steps):
            t = state.new_full((len(state),), 1 - to + (2 * to - 1) * k / self.steps)
            stages = _stages(system, tableau, t, step, state, rows)
            state = _advance(state, step, stages, tableau.weights)
        evaluations = torch.full_like(rows, self.steps * len(tableau.nodes))
        return _end(state, positions.shape, evaluations, state.isfinite().all(1))


@dataclasses.dataclass(frozen=True)
class AdaptiveSteps(Integrator):
    """The method of Dormand and Prince of order 5, with steps that keep each sample's error within tolerances.

    A step's error is the larger of the root mean square over the atoms' coordinates and that of the log density, each in units of
    ``atol + rtol |value|``. Steps are a sample's own: its path does not depend on what else is in the batch. (In torchdiffeq, a batch has
    one step, and what a sample's log q is depends on its company.)

    Attributes
    ----------
    rtol, atol : float
        The latter in the unit of the positions, and in nats.
    max_steps : int
        Tried steps after which a sample is given up; one whose derivative stays infinite is given up earlier.
    """

    rtol: float = 1e-4
    atol: float = 1e-4
    max_steps: int = 1000

    def __post_init__(self) -> None:
        if not (self.rtol >= 0 and self.atol > 0 and self.max_steps > 0):
            raise ConfGFError(
                f"Steps cannot be chosen by rtol = {self.rtol}, atol = {self.atol} and at most {self.max_steps} of them; make all positive."
            )

    def integrate(self, derivative: Derivative, positions: Tensor, *, to: Literal[0, 1], atoms: Tensor | None = None) -> Integrated:
        """As `Integrator.integrate`. Samples that are through are not evaluated any more.

        Parameters
        ----------
        derivative : Derivative
        positions : Tensor, (B, N, 3)
        to : 0 or 1
        atoms : Tensor of int64, (B,), optional

        Returns
        -------
        Integrated
        """
        system, ends = _System(derivative, positions.shape[1:]), _start(positions)
        sign = 2 * to - 1
        rows = torch.arange(len(ends), device=ends.device)
        state, left = ends.clone(), ends.new_ones(len(ends))
        sizes = 3 * (torch.full_like(rows, positions.shape[1]) if atoms is None else atoms.to(rows)).to(ends.dtype)
        slope = system(ends.new_full((len(ends),), 1 - to), state, rows)
        step, converged = self._first_step(system, sign, state, slope, sizes, rows), torch.zeros_like(rows, dtype=torch.bool)
        evaluations = torch.full_like(rows, 2)
        for _ in range(self.max_steps):
            if not len(rows):
                break
            step = torch.minimum(step, left)
            t = to - sign * left
            stages = _stages(system, DORMAND_PRINCE, t, sign * step, state, rows, slope)
            evaluations[rows] += len(DORMAND_PRINCE.nodes) - 1
            new = _advance(state, sign * step, stages, DORMAND_PRINCE.weights)
            error = _advance(torch.zeros_like(state), step, stages, _ERRORS)
            ratio = self._norm(error, torch.maximum(state.abs(), new.abs()), sizes[rows])
            # what is not finite is tried again with a much smaller step
            ratio = torch.where(ratio.isfinite(), ratio, torch.inf)
            taken = ratio <= 1
            state = torch.where(taken[:, None], new, state)
            slope = torch.where(taken[:, None], stages[-1], slope)
            arrived = taken & (step >= left)
            left = torch.where(taken, left - step, left)
            factor = (_SAFETY * ratio.clamp_min(1e-10) ** (-1 / 5)).clamp(_SMALLEST, _LARGEST)
            step = step * torch.where(taken, factor, factor.clamp_max(1.0))
            ends[rows] = state
            converged[rows] = arrived
            going = ~arrived & (step > _STUCK)
            rows, state, slope, step, left = rows[going], state[going], slope[going], step[going], left[going]
        return _end(ends, positions.shape, evaluations, converged)

    def _norm(self, difference: Tensor, value: Tensor, sizes: Tensor) -> Tensor:
        """Of differences (b, 3 N + 1) in units of the tolerances, (b,)."""
        ratio = difference / (self.atol + self.rtol * value)
        return torch.maximum((ratio[:, :-1].square().sum(1) / sizes).sqrt(), ratio[:, -1].abs())

    def _first_step(self, system: _System, sign: int, state: Tensor, slope: Tensor, sizes: Tensor, rows: Tensor) -> Tensor:
        """By the size of the first and second derivative (Hairer, Norsett & Wanner 1993, section II.4)."""
        size, rate = self._norm(state, state.abs(), sizes), self._norm(slope, state.abs(), sizes)
        guess = torch.where((size < 1e-5) | (rate < 1e-5), 1e-6, 0.01 * size / rate)
        guess = torch.where(guess.isfinite(), guess, 1e-6).clamp_max(1.0)
        t = (0.5 - 0.5 * sign) + sign * guess
        second = self._norm(system(t, state + sign * guess[:, None] * slope, rows) - slope, state.abs(), sizes) / guess
        steepest = torch.maximum(rate, second)
        step = torch.where(steepest <= 1e-15, (1e-3 * guess).clamp_min(1e-6), (0.01 / steepest) ** (1 / 5))
        return torch.where(step.isfinite(), torch.minimum(100 * guess, step), 1e-6).clamp_max(1.0)


_ERRORS = tuple(fifth - fourth for fifth, fourth in zip(DORMAND_PRINCE.weights, _FOURTH_ORDER, strict=True))


class _System:
    """A `Derivative` of states (b, 3 N + 1), whose last number is the log density."""

    def __init__(self, derivative: Derivative, shape: torch.Size) -> None:
        self.derivative, self.shape = derivative, shape

    def __call__(self, t: Tensor, state: Tensor, rows: Tensor) -> Tensor:
        velocity, rate = self.derivative(t, state[:, :-1].view(-1, *self.shape), rows)
        return torch.cat([velocity.to(state.dtype).flatten(1), rate.to(state.dtype)[:, None]], 1)


def _start(positions: Tensor) -> Tensor:
    """States (B, 3 N + 1) of positions (B, N, 3) and no change."""
    return torch.nn.functional.pad(positions.to(torch.float64).flatten(1), (0, 1))


def _end(state: Tensor, shape: torch.Size, evaluations: Tensor, converged: Tensor) -> Integrated:
    return Integrated(state[:, :-1].reshape(shape), state[:, -1], evaluations, converged)


def _stages(
    system: _System, tableau: Tableau, t: Tensor, step: Tensor, state: Tensor, rows: Tensor, first: Tensor | None = None
) -> list[Tensor]:
    """Slopes (b, 3 N + 1) at the stages of a step; the first may be known."""
    found = [system(t, state, rows) if first is None else first]
    for node, coefficients in zip(tableau.nodes[1:], tableau.matrix[1:], strict=True):
        found.append(system(t + node * step, _advance(state, step, found, coefficients), rows))
    return found


def _advance(state: Tensor, step: Tensor, slopes: list[Tensor], weights: tuple[float, ...]) -> Tensor:
    """``state + step sum_k weight_k slope_k``."""
    moved = torch.zeros_like(state)
    for weight, slope in zip(weights, slopes, strict=True):
        if weight:
            moved = moved.add(slope, alpha=weight)
    return state + step[:, None] * moved

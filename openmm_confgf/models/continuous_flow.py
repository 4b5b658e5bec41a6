r"""Continuous normalising flows: samples and exact densities by integrating a velocity field and its divergence.

A flow carries mean-free standard normal noise :math:`z` to positions, :math:`dx/dt = v(t, x)` from t = 0 to 1, and its density along, by
:math:`d \log q / dt = -\operatorname{div} v` (Chen, Rubanova, Bettencourt & Duvenaud 2018, doi:10.48550/arXiv.1806.07366).

**The measure** is that of `generators.density.DensityGenerator`: positions without a mean, in nm, on their subspace of 3n - 3 dimensions,
n being the number of atoms without padding. The prior is normalised there; the divergence on the subspace is that on all coordinates,
since no translation changes a velocity; and the network's unit of length, 1/scale nm, adds :math:`(3 n - 3) \log(\mathrm{scale})`.

**Mirror images.** If the field turns with reflections too, as an `EGNN` does, x and its mirror image are equally probable, and q is the
density over both. Who reflects samples to the hand of a molecule doubles q there: that factor 2 is the generator's to add, and not here.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import torch
from torch import Tensor

from ..errors import ConfGFError
from .divergence import VelocityField, exact_divergence
from .egnn import without_mean
from .ode import AdaptiveSteps, Integrated, Integrator


@dataclasses.dataclass(frozen=True)
class FlowDraws:
    """Positions of a flow and their density.

    Attributes
    ----------
    positions : Tensor of float64, (B, N, 3)
        nm, without a mean; padding is at 0.
    log_q : Tensor of float64, (B,)
        Nats; NaN where the integration did not converge, so that no weight can be made of it.
    evaluations : Tensor of int64, (B,)
        How often the field and its divergence were asked for.
    converged : Tensor of bool, (B,)
    """

    positions: Tensor
    log_q: Tensor
    evaluations: Tensor
    converged: Tensor


@dataclasses.dataclass(frozen=True)
class ContinuousFlow:
    """How a field is made a density.

    Attributes
    ----------
    scale : float
        Lengths of the network are nm times this: 10 for alanine dipeptide and 30 for dipeptides, as published.
    integrator : Integrator
        `AdaptiveSteps` (as published) or `FixedSteps`, which are cheaper and whose bias is in log q.
    chunk : int
        Conformations that are integrated at once.
    """

    scale: float = 10.0
    integrator: Integrator = dataclasses.field(default_factory=AdaptiveSteps)
    chunk: int = 256

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0 and self.chunk > 0):
            raise ConfGFError(f"A flow has no scale {self.scale} and chunks of {self.chunk} conformations; make both positive.")

    def sample(self, field: VelocityField, noise: Tensor) -> FlowDraws:
        """Positions that the noise is carried to.

        Parameters
        ----------
        field : VelocityField
            Of B conformations of up to N atoms.
        noise : Tensor, (B, N, 3)
            Standard normal numbers, as of `draw_noise`; their mean and padding are removed.

        Returns
        -------
        FlowDraws
            Log densities are summed up in float64, whatever the network computes in.
        """
        start = without_mean(noise.to(torch.float64), field.mask)
        end = self._carry(field, start, to=1)
        return self._density(field, end.positions / self.scale, normal_log_prob(start, field.mask) + end.change, end)

    def log_prob(self, field: VelocityField, positions: Tensor) -> FlowDraws:
        """The density at given positions.

        Parameters
        ----------
        field : VelocityField
            Of B conformations of up to N atoms.
        positions : Tensor, (B, N, 3)
            nm; translations and padding make no difference.

        Returns
        -------
        FlowDraws
            Its positions are those given, without their mean.
        """
        given = without_mean(positions.to(torch.float64), field.mask)
        end = self._carry(field, given * self.scale, to=0)
        noise = without_mean(end.positions, field.mask)
        return self._density(field, given, normal_log_prob(noise, field.mask) - end.change, end)

    def _density(self, field: VelocityField, positions: Tensor, log_q: Tensor, end: Integrated) -> FlowDraws:
        """In nm, from the log density in the network's unit."""
        positions = without_mean(positions, field.mask)
        log_q = log_q + dimensions(positions, field.mask) * math.log(self.scale)
        converged = end.converged & log_q.isfinite()
        return FlowDraws(positions, torch.where(converged, log_q, torch.nan), end.evaluations, converged)

    @torch.no_grad()
    def _carry(self, field: VelocityField, positions: Tensor, *, to: Literal[0, 1]) -> Integrated:
        atoms = None if field.mask is None else field.mask.sum(1)
        parts = []
        for first in range(0, len(positions), self.chunk):
            rows = torch.arange(first, min(first + self.chunk, len(positions)), device=positions.device)

            def derivative(t: Tensor, x: Tensor, chosen: Tensor, rows: Tensor = rows) -> tuple[Tensor, Tensor]:
                velocity, divergence = exact_divergence(field.rows(rows[chosen]), t, x)
                return velocity, -divergence

            some = None if atoms is None else atoms[rows]
            parts.append(self.integrator.integrate(derivative, positions[rows], to=to, atoms=some))
        fields = [f.name for f in dataclasses.fields(Integrated)]
        return Integrated(**{name: torch.cat([getattr(part, name) for part in parts]) for name in fields})


def dimensions(positions: Tensor, mask: Tensor | None = None) -> Tensor:
    """Of the subspace without a mean, 3n - 3.

    Parameters
    ----------
    positions : Tensor, (B, N, 3)
    mask : Tensor of bool, (B, N), optional

    Returns
    -------
    Tensor of int64, (B,)
    """
    count, n = positions.shape[:2]
    atoms = torch.full((count,), n, device=positions.device) if mask is None else mask.sum(1)
    return 3 * atoms - 3


def normal_log_prob(positions: Tensor, mask: Tensor | None = None) -> Tensor:
    """Log density of the standard normal distribution on the subspace without a mean, ``-|z|^2 / 2 - (3n - 3)/2 log(2 pi)``.

    Parameters
    ----------
    positions : Tensor, (B, N, 3)
        Without a mean, padding at 0.
    mask : Tensor of bool, (B, N), optional

    Returns
    -------
    Tensor, (B,)

    Examples
    --------
    Two atoms have three dimensions:

    >>> round(normal_log_prob(torch.zeros(1, 2, 3)).item(), 5)
    -2.75682
    """
    squares = positions.square().sum((1, 2))
    return -0.5 * squares - 0.5 * math.log(2 * math.pi) * dimensions(positions, mask).to(squares.dtype)


def draw_noise(count: int, n_atoms: int, generator: torch.Generator, mask: Tensor | None = None) -> Tensor:
    """Samples of `normal_log_prob`.

    Parameters
    ----------
    count, n_atoms : int
        B and N.
    generator : torch.Generator
        Its device is that of the noise.
    mask : Tensor of bool, (B, N), optional

    Returns
    -------
    Tensor of float64, (B, N, 3)
        Without a mean; padding is at 0.
    """
    noise = torch.randn(count, n_atoms, 3, generator=generator, dtype=torch.float64, device=generator.device)
    return without_mean(noise, mask)

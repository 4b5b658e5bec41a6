"""BatchedEnergy: the energies of an OpenMM System for a whole batch of conformations at once, differentiable, in torch."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Literal

import openmm
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import UnsupportedForceError
from ..context import ContextEnergy
from ..interface import DifferentiableEnergy, EnergyResult, can_be_evaluated, frames_of
from .packed import PackedEnergy
from .read_system import check_parameters, refuse_constraints


class BatchedEnergy(DifferentiableEnergy):
    """Evaluates conformations of one System, a batch at a time.

    Parameters
    ----------
    system : openmm.System
        Not periodic; it is not changed. `SUPPORTED` lists the forces.
    device, dtype, compiled, parameters, for_reweighting
        As in `PackedEnergy`.

    Attributes
    ----------
    system : openmm.System
    device : torch.device
    dtype : torch.dtype
    potential : Potential
        What computes them, for loops that keep their positions on the device: (3, N, B), the batch last.

    Raises
    ------
    UnsupportedForceError
        If the System holds a force that cannot be taken; the message names it and the alternative.
    PlatformError
        If there is no such device.
    ConfGFError
        If the dtype is neither float32 nor float64.
    ValueError
        If a parameter is not one of the System.

    Examples
    --------
    Two atoms on a spring of 1000 kJ/mol/nm^2, stretched by 0.1 nm:

    >>> import openmm
    >>> from openmm_confgf import BatchedEnergy
    >>> system = openmm.System()
    >>> _ = system.addParticle(12.0), system.addParticle(12.0)
    >>> spring = openmm.HarmonicBondForce()
    >>> _ = spring.addBond(0, 1, 0.15, 1000.0), system.addForce(spring)
    >>> BatchedEnergy(system, device="cpu").evaluate([[0, 0, 0], [0.25, 0, 0]]).energy
    array([5.])
    """

    def __init__(
        self,
        system: openmm.System,
        *,
        device: str = "auto",
        dtype: torch.dtype = torch.float64,
        compiled: bool = False,
        parameters: Mapping[str, float] | None = None,
        for_reweighting: bool = False,
    ) -> None:
        self._packed = PackedEnergy(
            [system], device=device, dtype=dtype, compiled=compiled, parameters=parameters, for_reweighting=for_reweighting
        )
        self.system, self.device, self.dtype = system, self._packed.device, dtype
        self.potential = self._packed.potential

    def evaluate(self, positions: Any, forces: bool = False) -> EnergyResult:
        """Energies, and forces if asked for, of many conformations. A bad one never affects another.

        Parameters
        ----------
        positions : array_like or Quantity, (B, N, 3) or (N, 3)
            nm. Large batches are evaluated in pieces.
        forces : bool
            Whether to return forces as well; a conformation whose forces are not finite is then NON_FINITE too.

        Returns
        -------
        EnergyResult

        Raises
        ------
        ValueError
            If N is not the System's number of particles.
        """
        return self._packed.evaluate([positions], forces)[0]

    def energy(self, positions: Tensor) -> Tensor:
        """Energies as a differentiable function of positions; what is not finite is treated as in `PackedEnergy.energy`.

        Parameters
        ----------
        positions : Tensor, (B, N, 3)
            nm, on any device, in any floating-point type.

        Returns
        -------
        Tensor, (B,)
            kJ/mol, on the device and in the type of the positions.

        Raises
        ------
        ValueError
            If the shape or the type is not as above.
        """
        return self._packed.energy([positions])[0]

    def decompose(self, positions: Any, by: Literal["force", "group"] = "force") -> dict[str, NDArray[Any]] | dict[int, NDArray[Any]]:
        """Energies of each force, or of each force group.

        Parameters
        ----------
        positions : array_like or Quantity, (B, N, 3) or (N, 3)
            nm.
        by : str
            ``"force"``: by the force's name, with `` 2`` and so on where several have the same. ``"group"``: by the number of the group.

        Returns
        -------
        dict of ndarray of float64, (B,)
            kJ/mol; they sum up to what `evaluate` gives. +inf where a conformation is not finite. Forces without interactions are left
            out.

        Raises
        ------
        ValueError
            If N is not the System's number of particles, or `by` is neither of the two.
        """
        if by not in ("force", "group"):
            raise ValueError(f"Energies cannot be decomposed by {by!r}; give by='force' or by='group'.")
        frames = torch.tensor(frames_of(positions, self._packed.n_atoms[0])).to(self.device)
        usable = can_be_evaluated(frames)
        packed = self._packed.pack([frames], [usable])
        size = self.potential.piece_size(len(frames), packed)
        with torch.no_grad():
            pieces = [self.potential.by_term(piece.to(self.dtype)) for piece in packed.split(size, -1)]
        found: dict[Any, NDArray[Any]] = {}
        for k, (name, group) in enumerate(self.potential.labels):
            row = torch.cat([piece[k][0].expand(size) for piece, size in zip(pieces, map(len, frames.split(size)), strict=True)]).double()
            energy = torch.where(usable & torch.isfinite(row), row, torch.inf).cpu().numpy()
            if by == "group":
                found[group] = found.get(group, 0) + energy
            else:
                keys = (name, *(f"{name} {k}" for k in range(2, len(found) + 3)))
                found[next(key for key in keys if key not in found)] = energy
        return found


def energy(
    system: openmm.System,
    positions: Any,
    forces: bool = False,
    *,
    fallback: Literal["context"] | None = None,
    platform: str = "auto",
    parameters: Mapping[str, float] | None = None,
    for_reweighting: bool = False,
    **settings: Any,
) -> EnergyResult:
    """Energies of many conformations of a System, in one line; to evaluate again and again, keep a `BatchedEnergy`.

    Parameters
    ----------
    system : openmm.System
    positions : array_like or Quantity, (B, N, 3) or (N, 3)
        nm.
    forces : bool
        Whether to return forces as well.
    fallback : str, optional
        ``"context"``: a System that `BatchedEnergy` cannot take is evaluated by `ContextEnergy`, with a warning that says why. Constraints
        are refused all the same where the energies will weigh samples.
    platform : str
        Of OpenMM, for the fallback.
    parameters, for_reweighting, **settings
        As in `BatchedEnergy`; device, dtype and compiled make no difference to the fallback.

    Returns
    -------
    EnergyResult

    Raises
    ------
    UnsupportedForceError
        If the System holds a force that cannot be taken, and there is no fallback.
    ValueError
        If N is not the System's number of particles, a parameter is not one of it, or there is no such fallback.
    """
    if fallback not in (None, "context"):
        raise ValueError(f"There is no fallback {fallback!r}; give fallback='context', or leave it out.")
    if for_reweighting:
        refuse_constraints(system)
    try:
        evaluator = BatchedEnergy(system, parameters=parameters, **settings)
    except UnsupportedForceError as error:
        if fallback is None:
            raise
        warnings.warn(f"Energies come from an OpenMM Context, one conformation after the other: {error}", stacklevel=2)
        with ContextEnergy(system, platform) as context:
            check_parameters(parameters, dict(context.context.getParameters()))
            for name, value in (parameters or {}).items():
                context.context.setParameter(name, value)
            return context.evaluate(positions, forces)
    return evaluator.evaluate(positions, forces)

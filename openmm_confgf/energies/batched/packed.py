"""PackedEnergy: conformations of several molecules evaluated side by side, as if they were one System."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import openmm
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...devices import resolve_device
from ...errors import ConfGFError
from ...status import Status
from ..interface import EnergyResult, can_be_evaluated, frames_of
from .potential import Potential
from .read_system import check_supported, read_systems


class PackedEnergy:
    """Evaluates conformations of several molecules in one call.

    Made for molecules with similar numbers of conformations: all of them are computed as often as the largest number asks for.

    Parameters
    ----------
    systems : sequence of openmm.System
        One for each molecule; they are not changed. `SUPPORTED` lists the forces.
    device : str
        ``"auto"`` (CUDA where there is one), ``"cpu"`` or ``"cuda"``.
    dtype : torch.dtype
        Of the computation: float64 agrees with OpenMM's Reference platform to rounding; float32 is faster, and off by 3e-4 kJ/mol in 22
        atoms and by 1e-2 in 300.
    compiled : bool
        Whether all operations are fused by `torch.compile`. The first energies, and the first forces, of each size of a batch (rounded up
        to a power of two) then take some ten seconds more, and all later ones several times less. Where torch finds no compiler it says
        so and goes on without.
    parameters : mapping of str to float, optional
        Global parameters at other values than their defaults, as ``Context.setParameter`` would set them.
    for_reweighting : bool
        Whether the energies will weigh samples; Systems with constraints are then refused.

    Attributes
    ----------
    n_atoms : tuple of int
        Of each molecule.
    device : torch.device
    dtype : torch.dtype

    Raises
    ------
    UnsupportedForceError
        If a System holds a force that cannot be taken; the message names it and the alternative.
    PlatformError
        If there is no such device.
    ConfGFError
        If there is no System, or the dtype is neither float32 nor float64.
    ValueError
        If a parameter is not one of the Systems.
    """

    def __init__(
        self,
        systems: Sequence[openmm.System],
        *,
        device: str = "auto",
        dtype: torch.dtype = torch.float64,
        compiled: bool = False,
        parameters: Mapping[str, float] | None = None,
        for_reweighting: bool = False,
    ) -> None:
        if not systems:
            raise ConfGFError("There is no System to evaluate; give at least one.")
        if dtype not in (torch.float32, torch.float64):
            raise ConfGFError(f"Energies cannot be computed in {dtype}; take torch.float64 or torch.float32.")
        for system in systems:
            check_supported(system, for_reweighting)
        self.device, self.dtype = resolve_device(device), dtype
        self.n_atoms = tuple(system.getNumParticles() for system in systems)
        self.potential = Potential(read_systems(systems, parameters), self.n_atoms, compiled).to(self.device, dtype)
        self._harmless = torch.cat([_helix(n) for n in self.n_atoms])

    def evaluate(self, positions: Sequence[Any], forces: bool = False) -> list[EnergyResult]:
        """Energies, and forces if asked for, of conformations of each molecule. A bad one never affects another.

        Parameters
        ----------
        positions : sequence of array_like or Quantity, (B_m, N_m, 3) or (N_m, 3)
            nm, one entry for each molecule.
        forces : bool
            Whether to return forces as well; a conformation whose forces are not finite is then NON_FINITE too.

        Returns
        -------
        list of EnergyResult
            One for each molecule.

        Raises
        ------
        ValueError
            If the number of molecules, or of the atoms of one, is not that of the Systems.
        """
        self._check_count(positions)
        frames = [_as_tensor(frames_of(x, n)) for x, n in zip(positions, self.n_atoms, strict=True)]
        results = []
        for ok, energy, force_values in self.compute(frames, forces):
            status = torch.where(ok, int(Status.OK), int(Status.NON_FINITE)).to(torch.int8)
            if force_values is not None:
                force_values[~ok] = torch.nan
            results.append(
                EnergyResult(energy.cpu().numpy(), None if force_values is None else force_values.cpu().numpy(), status.cpu().numpy())
            )
        return results

    def energy(self, positions: Sequence[Tensor]) -> list[Tensor]:
        """Energies as differentiable functions of positions.

        A conformation that is not finite, or whose energy is not, has energy +inf and gradient zero, so that it spoils no training step.
        Second derivatives exist (``create_graph=True``).

        Parameters
        ----------
        positions : sequence of Tensor, (B_m, N_m, 3)
            nm, on any device, in any floating-point type.

        Returns
        -------
        list of Tensor, (B_m,)
            kJ/mol, on the device and in the type of the positions.

        Raises
        ------
        ValueError
            If a shape or a type is not as above.
        """
        self._check_count(positions)
        for x, n in zip(positions, self.n_atoms, strict=True):
            if x.ndim != 3 or x.shape[1:] != (n, 3) or not x.is_floating_point():
                raise ValueError(f"Positions have shape {tuple(x.shape)} and type {x.dtype}; give floating-point (B, {n}, 3) in nm.")
        return list(_DifferentiableEnergy.apply(self, *positions))

    def compute(self, frames: Sequence[Tensor], forces: bool) -> list[tuple[Tensor, Tensor, Tensor | None]]:
        """Energies, and forces if asked for, of conformations of each molecule, as tensors.

        Parameters
        ----------
        frames : sequence of Tensor, (B_m, N_m, 3)
            nm, on any device, in any floating-point type.
        forces : bool

        Returns
        -------
        list of (Tensor of bool, Tensor of float64, Tensor of float64 or None)
            For each molecule, on this object's device: which conformations are usable, (B_m,); energies, (B_m,), in kJ/mol, +inf for those
            that are not usable; forces, (B_m, N_m, 3), in kJ/mol/nm, without a meaning there, or None.
        """
        usable = [can_be_evaluated(x.detach()).to(self.device) for x in frames]
        energies = [torch.full((len(x),), torch.inf, dtype=torch.float64, device=self.device) for x in frames]
        all_forces = [torch.empty(x.shape, dtype=torch.float64, device=self.device) for x in frames] if forces else None
        for here, rows, force_values in self.potential.pieces(self.pack(frames, usable), forces, self.dtype):
            parts = None if force_values is None else force_values.split(self.n_atoms, 1)
            for m, row in enumerate(rows):
                there = slice(here.start, min(here.stop, len(frames[m])))
                found = row[: max(0, there.stop - there.start)]
                ok = usable[m][there]
                ok &= torch.isfinite(found)
                if all_forces is not None and parts is not None:
                    part = parts[m][..., : len(found)]
                    ok &= torch.isfinite(part.abs().amax((0, 1)))
                    all_forces[m][there] = part.permute(2, 1, 0)
                energies[m][there] = torch.where(ok, found, torch.inf)
        return [
            (ok, energy, None if all_forces is None else all_forces[m]) for m, (ok, energy) in enumerate(zip(usable, energies, strict=True))
        ]

    def pack(self, frames: Sequence[Tensor], usable: Sequence[Tensor]) -> Tensor:
        """Positions of all molecules side by side; a harmless shape stands for what is not usable or missing.

        Where the energy does not depend on it and `dtype` is another type than theirs, each conformation is moved to the origin.

        Parameters
        ----------
        frames : sequence of Tensor, (B_m, N_m, 3)
            nm, on any device.
        usable : sequence of Tensor of bool, (B_m,)
            On this object's device.

        Returns
        -------
        Tensor, (3, N, B)
            nm, on this object's device, in the type of the positions. N is the sum of all N_m, and B the largest B_m.
        """
        packed = []
        count = max(map(len, frames))
        for x, ok, harmless in zip(frames, usable, self._harmless.split(self.n_atoms), strict=True):
            x, stand_in = x.to(self.device), harmless.to(self.device, x.dtype)
            if self.dtype != x.dtype and self.potential.translation_invariant:
                x = x - x.detach().mean(1, keepdim=True)  # far from the origin, a narrower type has few digits left
            if not ok.all():
                x = torch.where(ok[:, None, None], x, stand_in)
            packed.append(torch.cat([x, stand_in.expand(count - len(x), -1, -1)]) if len(x) < count else x)
        return (torch.cat(packed, 1) if len(packed) > 1 else packed[0]).permute(2, 1, 0)

    def _check_count(self, positions: Sequence[Any]) -> None:
        if len(positions) != len(self.n_atoms):
            raise ValueError(f"There are positions of {len(positions)} molecules for {len(self.n_atoms)} Systems; give one entry each.")


class _DifferentiableEnergy(torch.autograd.Function):
    """Energies whose first derivatives come with them, and whose second derivatives come from evaluating them again, with a graph."""

    @staticmethod
    def forward(ctx: Any, packed: PackedEnergy, *positions: Tensor) -> tuple[Tensor, ...]:
        found = packed.compute([x.detach() for x in positions], any(ctx.needs_input_grad))
        ctx.packed = packed
        ctx.save_for_backward(*positions, *(ok for ok, _, _ in found))
        ctx.gradients = [
            None if force_values is None else torch.where(ok[:, None, None], -force_values, 0).to(x)
            for (ok, _, force_values), x in zip(found, positions, strict=True)
        ]
        return tuple(energy.to(x) for (_, energy, _), x in zip(found, positions, strict=True))

    @staticmethod
    def backward(ctx: Any, *weights: Tensor) -> tuple[Tensor | None, ...]:
        packed, saved = ctx.packed, ctx.saved_tensors
        positions, usable = saved[: len(weights)], saved[len(weights) :]
        # the energy of what is not usable is infinite, and may have any weight
        known = [torch.where(ok.to(weight.device), weight, 0) for ok, weight in zip(usable, weights, strict=True)]
        if not torch.is_grad_enabled():
            return None, *(weight[:, None, None] * gradient for weight, gradient in zip(known, ctx.gradients, strict=True))
        rows = packed.potential(packed.pack(positions, usable).to(packed.dtype))
        energies = [row[: len(x)].to(x) for row, x in zip(rows, positions, strict=True)]
        moving = [x for x in positions if x.requires_grad]
        if rows.requires_grad:
            found = iter(torch.autograd.grad(energies, moving, known, create_graph=True, materialize_grads=True))
        else:  # no forces at all
            found = map(torch.zeros_like, moving)
        return None, *(next(found) if x.requires_grad else None for x in positions)


def _as_tensor(frames: NDArray[np.float64]) -> Tensor:
    """An array as a tensor, copied only where torch could not leave it alone."""
    return torch.from_numpy(frames if frames.flags.writeable else frames.copy())


def _helix(n_atoms: int) -> Tensor:
    """Atoms apart from each other, no three of them on a line: a shape of finite energy, (N, 3)."""
    turn = torch.arange(n_atoms, dtype=torch.float64)
    return torch.stack([turn.cos(), turn.sin(), 0.1 * turn], 1)

"""Weighted samples made ones of the target: drawn by their weights, then moved so that copies part."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..energies import BatchedEnergy, ForceFieldLike, system_source
from ..ensemble import Ensemble
from ..errors import ConfGFError
from ..molecules.checks import check_conformations
from ..thermodynamics.diagnostics import diagnose
from ..thermodynamics.log_weights import log_weights
from ..thermodynamics.resampling import resample
from ..units import in_md_units
from .hamiltonian_monte_carlo import move_conformations


def resample_move(
    ensemble: Ensemble,
    forcefield: ForceFieldLike,
    n: int | None = None,
    *,
    temperature: Any = None,
    moves: int = 100,
    steps: int = 20,
    timestep: float = 0.001,
    seed: int = 0,
    device: str = "auto",
) -> Ensemble:
    """Samples of the target without weights: resampled by their weights, then moved by Monte Carlo on the target alone.

    Resample-move (Gilks & Berzuini 2001, doi:10.1111/1467-9868.00280). The moves keep the target exactly (`hamiltonian_monte_carlo`): they
    take copies apart and relax what the generator drew badly, but cross no barrier in the time that they have, so that populations of
    states are still those of the weights. k-hat of these stays what decides about trust; it is in the ``diagnostics``.

    Parameters
    ----------
    ensemble : Ensemble
        With ``log_q`` and energies of all rows.
    forcefield : str, SystemBuilder, openmm.System, ForceField, SystemGenerator or callable
        As in `system_source`, without constraints: that of the ensemble's energies.
    n : int, optional
        How many samples are wanted; by default as many as there are.
    temperature : float or Quantity, optional
        K; that of the ensemble's target by default.
    moves : int
        Of each sample, at least 1.
    steps, timestep
        As in `hamiltonian_monte_carlo`; ps.
    seed : int
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Returns
    -------
    Ensemble
        With energies, and without ``log_q``. ``provenance`` names the moves, and ``diagnostics`` hold their ``"acceptance"`` and what the
        weights said of themselves (``"resampled"``).

    Raises
    ------
    ConfGFError
        If the System is another one than that of the ensemble's energies, a number is out of range, or as `log_weights` and `resample`.
    ForceFieldError, UnsupportedForceError
        As in `system_source` and `BatchedEnergy`.
    """
    if moves < 1 or steps < 1 or not timestep > 0:
        raise ConfGFError(
            f"{moves} moves of up to {steps} steps of {timestep:g} ps move nothing; give at least one, and a timestep above 0."
        )
    target = ensemble.target
    kelvin = in_md_units(temperature) if temperature is not None else target.temperature if target is not None else None
    logs = log_weights(ensemble.log_q, ensemble.energy, ensemble.status, kelvin)
    source = system_source(forcefield)
    system = source.build(ensemble.graph)
    aim = source.target(system, kelvin)
    if target is not None and target.system_sha256 not in (None, aim.system_sha256):
        raise ConfGFError(f"The energies are of another System than that of {source.forcefield!r}; score the samples with that first.")
    energy = BatchedEnergy(system, device=device, for_reweighting=True)
    chosen = resample(logs, len(ensemble) if n is None else n, seed)
    frames, energies, acceptance = move_conformations(
        energy, ensemble.positions[chosen], aim.temperature or 0.0, moves=moves, steps=steps, timestep=timestep, seed=seed
    )
    settings = {"moves": moves, "steps": steps, "timestep": timestep, "temperature": aim.temperature, "seed": seed}
    provenance = dataclasses.replace(
        ensemble.provenance,
        generator=f"{ensemble.provenance.generator}+resample-move",
        settings=ensemble.provenance.settings | {"resample_move": settings},
    )
    said = {"acceptance": acceptance, "resampled": dataclasses.asdict(diagnose(logs))}
    return ensemble.replace(
        positions=frames,
        status=check_conformations(ensemble.graph, frames),
        energy=energies,
        log_q=None,
        properties=None,
        provenance=provenance,
        target=aim,
        diagnostics=dict(ensemble.diagnostics) | said,
    )

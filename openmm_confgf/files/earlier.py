"""What files of earlier versions tell among the settings, where it belongs today: the target and the diagnostics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..ensemble import Target

_DIAGNOSTICS = ("picoseconds", "exchange_acceptance", "r_hat_energy", "r_hat_torsions", "repaired", "ways", "distinct")
_OF_SYSTEM = ("forcefield", "system_sha256")


def taken_apart(told: Mapping[str, Any]) -> tuple[dict[str, Any], Target | None, dict[str, Any]]:
    """Settings, target and diagnostics, of settings that held them all.

    The target is the force field of the last evaluation, or of the relaxation where there was none after it. Settings of molecular dynamics
    have a temperature, which is that of the samples until they are relaxed.

    Parameters
    ----------
    told : mapping
        `Provenance.settings` as the file has them.

    Returns
    -------
    settings : dict
        What is left of them.
    target : Target or None
    diagnostics : dict

    Raises
    ------
    AttributeError, TypeError, ValueError, ConfGFError
        If they are not what an earlier version wrote.
    """
    evaluated = told if "forcefield" in told else told.get("relaxation", {})
    temperature = None if "relaxation" in told else told.get("temperature")
    target = Target(evaluated["forcefield"], evaluated.get("system_sha256"), temperature) if "forcefield" in evaluated else None
    diagnostics = {name: told[name] for name in _DIAGNOSTICS if name in told}
    return {name: value for name, value in told.items() if name not in (*_DIAGNOSTICS, *_OF_SYSTEM)}, target, diagnostics

"""The temperature that a Simulation is kept at."""

from __future__ import annotations

from typing import Any

import openmm
from openmm import app

from ..errors import ConfGFError
from ..units import in_md_units


def thermostat_temperature(simulation: app.Simulation) -> float | None:
    """The temperature in K of the integrator, or else of an AndersenThermostat; None where nothing keeps one.

    Parameters
    ----------
    simulation : openmm.app.Simulation
    """
    # as OpenMM itself asks: a CustomIntegrator of someone else's may have the method, too
    ask = getattr(simulation.integrator, "getTemperature", None)
    if ask is not None:
        return float(in_md_units(ask()))
    if any(isinstance(force, openmm.AndersenThermostat) for force in simulation.system.getForces()):
        return float(simulation.context.getParameter(openmm.AndersenThermostat.Temperature()))
    return None


def wanted_temperature(simulation: app.Simulation, given: Any) -> float:
    """A temperature in K: the one that is given, or the one that a Simulation is kept at.

    Parameters
    ----------
    simulation : openmm.app.Simulation
    given : float or Quantity, optional

    Raises
    ------
    ConfGFError
        If there is none.
    """
    known = thermostat_temperature(simulation) if given is None else float(in_md_units(given))
    if known is None:
        raise ConfGFError(f"A {type(simulation.integrator).__name__} has no temperature; give one.")
    return known

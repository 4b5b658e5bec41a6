"""The temperature that a Simulation is kept at."""

from __future__ import annotations

import openmm
from openmm import app

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

"""Collect frames of MD in an ensemble file, through a stop and a restart, and start replica exchange from what was found."""

import sys
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from openmm_confgf import HarvestReporter, create_system, generate, read_ensembles
from openmm_confgf.openmm_plugin import states

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "examples/output")
folder.mkdir(parents=True, exist_ok=True)
frames_file, checkpoint = folder / "butane-md.h5", folder / "butane-md.chk"
conformers = generate("CCCC", 5, generator="etkdg", seed=1)
butane = conformers.graph
system = create_system(butane, "openff-2.2.1")


def simulation():
    """As a script makes it, each time that it is started."""
    integrator = openmm.LangevinMiddleIntegrator(300 * unit.kelvin, 1 / unit.picosecond, 0.001 * unit.picoseconds)
    integrator.setRandomNumberSeed(1)
    return app.Simulation(butane.to_topology(), system, integrator, openmm.Platform.getPlatform("Reference"))


def save(running):
    """The checkpoint before stays until the new one is complete."""
    running.saveCheckpoint(str(checkpoint.with_suffix(".new")))
    checkpoint.with_suffix(".new").replace(checkpoint)


first = simulation()
first.context.setPositions(conformers.positions[0])
first.minimizeEnergy()
first.context.setVelocitiesToTemperature(300 * unit.kelvin, 1)
# a frame every 0.05 ps; the first 10 are not taken
first.reporters.append(HarvestReporter(frames_file, 50, equilibration=10))
first.step(2000)
save(first)
first.step(730)  # and here the job is killed: these steps are lost
del first

again = simulation()
again.loadCheckpoint(str(checkpoint))
harvest = HarvestReporter(frames_file, 50, equilibration=10)
again.reporters.append(harvest)
again.step(2000)
harvest.close()

(frames,) = read_ensembles(frames_file)
told = frames.diagnostics
print(f"{len(frames)} frames of steps {told['first_step']} to {told['last_step']}, at {frames.target.temperature} K")
assert len(frames) == (4000 - 10 * 50) // 50

# replicas start from different frames, those of low energy first
temperatures = np.geomspace(300, 500, 4)
sampler = app.ReplicaExchangeSampler([{"temperature": t * unit.kelvin} for t in temperatures], again, 50)
sampler.replicaConformation = states(frames, again, len(temperatures), seed=2)
sampler.simulate(10)
energies = [row[k].value_in_unit(unit.kilojoule_per_mole) for k, row in enumerate(sampler.replicaStateEnergy)]
print("replicas after 0.5 ps, kJ/mol:", np.round(energies, 1))

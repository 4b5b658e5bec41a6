"""Energies of conformers that you already have, in any OpenMM System: the same numbers that ten lines of OpenMM give."""

import openmm
from openmm import unit

from openmm_confgf import ContextEnergy, ETKDGGenerator, create_system

conformers = ETKDGGenerator().sample("OCCO", 20, seed=1)
system = create_system(conformers.graph, forcefield="openff-2.2.1")

with ContextEnergy(system, platform="auto") as context:
    result = context.evaluate(conformers.positions, forces=True)
    print(f"{len(result.energy)} energies on {context.platform}, {result.energy.min():.3f} to {result.energy.max():.3f} kJ/mol")
    print(f"largest force {abs(result.forces).max():.0f} kJ/mol/nm")

# by hand, for comparison
reference = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
reference.setPositions(conformers.positions[0])
energy = reference.getState(getEnergy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
print(f"the first one by hand: {energy:.3f} kJ/mol, difference {result.energy[0] - energy:.1e}")

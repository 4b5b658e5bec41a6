"""Equilibrium averages of alanine dipeptide from independent samples and their exact weights, and MD that starts in equilibrium."""

import openmm
from openmm import app, unit

from openmm_confgf import create_system, reweight
from openmm_confgf.generators import BoltzmannGenerator
from openmm_confgf.molecules.backbone import backbone_torsions
from openmm_confgf.molecules.peptides import peptide

molecule = peptide(["ACE", "ALA", "NME"])
generator = BoltzmannGenerator(weights="boltzmann-ala2")  # amber99sbildn + amber99_obc, 300 K
samples = generator.sample(molecule, 5000, seed=1)  # independent, with log_q, and energies in kJ/mol

weighed = reweight(samples)
print(weighed.diagnostics.verdict)
print("mean energy, kJ/mol:", weighed.mean_energy())
phi = weighed.torsions(backbone_torsions(molecule)[0][0])
print("free energy of phi > 0, kJ/mol:", weighed.free_energy_difference(phi < 0, phi > 0))

# samples without weights, each as often as its weight says: MD that starts there needs no equilibration
starts = weighed.resample(4, seed=2)
system = create_system(molecule, "amber99sbildn.xml,amber99_obc.xml")
integrator = openmm.LangevinMiddleIntegrator(300 * unit.kelvin, 1 / unit.picosecond, 0.001 * unit.picosecond)
simulation = app.Simulation(molecule.to_topology(), system, integrator, openmm.Platform.getPlatformByName("Reference"))
for number, positions in enumerate(starts.positions):
    simulation.context.setPositions(positions)
    simulation.context.setVelocitiesToTemperature(300 * unit.kelvin, number)
    simulation.step(50)
    energy = simulation.context.getState(getEnergy=True).getPotentialEnergy()
    print(f"start {number}: {energy.value_in_unit(unit.kilojoule_per_mole):.1f} kJ/mol after 50 steps")

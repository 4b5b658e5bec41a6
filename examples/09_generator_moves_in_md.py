"""Jump between basins while MD runs: Monte Carlo moves to samples of a Boltzmann generator, exact whatever the generator is worth.

Alanine dipeptide reaches phi > 0 once in many nanoseconds of plain MD. Here every move may go there; Metropolis-Hastings with the exact
density keeps the averages those of the force field. The second run draws only the methyl end (NME) again, as one would draw a side chain.
"""

import openmm
from openmm import app, unit

from openmm_confgf import create_system
from openmm_confgf.generators import create_generator
from openmm_confgf.molecules.backbone import first_phi
from openmm_confgf.molecules.peptides import peptide
from openmm_confgf.openmm_plugin import GeneratorMove, PartialMove, run_with_moves

molecule = peptide(["ACE", "ALA", "NME"])
generator = create_generator("boltzmann", "boltzmann-ala2")
start = generator.sample(molecule, 1, seed=3, device="cpu").positions[0]

integrator = openmm.LangevinMiddleIntegrator(300 * unit.kelvin, 1 / unit.picosecond, 1 * unit.femtosecond)
system = create_system(molecule, "amber99sbildn.xml,amber99_obc.xml")
simulation = app.Simulation(molecule.to_topology(), system, integrator, openmm.Platform.getPlatformByName("CPU"))
simulation.context.setPositions(start)
simulation.context.setVelocitiesToTemperature(300 * unit.kelvin, 1)

move = GeneratorMove(simulation, generator, molecule, seed=1, device="cpu")
run = run_with_moves(move, 120, steps=20)
positive = first_phi(molecule, run.positions) > 0
print(f"{move.attempted} moves, {100 * move.acceptance:.0f} % accepted")
print(f"phi > 0 in {positive.sum()} of {len(positive)} frames, {run.round_trips(positive.astype(int))} round trips")
print(f"{run.force_evaluations:,} force evaluations")

tail = [atom.index for atom in molecule.to_topology().atoms() if atom.residue.name == "NME" and atom.name not in ("N", "H")]
partial = PartialMove(simulation, generator, molecule, tail, candidates=8, seed=2, device="cpu")
for _ in range(20):
    simulation.step(20)
    partial.apply()
print(f"{len(partial.atoms)} atoms drawn again {partial.attempted} times, {100 * partial.acceptance:.0f} % accepted")

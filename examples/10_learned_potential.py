"""A learned potential in OpenMM: minimise, simulate, save and read the System; and anneal with ConfGF's score.

    python examples/10_learned_potential.py

Needs pip install "openmm_confgf[plugin]". Half a minute on one core.
"""

import numpy as np
import openmm
from openmm import app, unit
from openmmml import MLPotential

from openmm_confgf import generate, relax
from openmm_confgf.molecules.rmsd import rmsd_matrix
from openmm_confgf.openmm_plugin import add_pseudo_force, potential_level, read_system

SMILES = "C1CCCCC1O"


def totals(simulation: app.Simulation, rounds: int, steps: int) -> list[float]:
    """Total energies in kJ/mol along a run."""
    found = []
    for _ in range(rounds):
        simulation.step(steps)
        state = simulation.context.getState(energy=True)
        found.append((state.getPotentialEnergy() + state.getKineticEnergy()).value_in_unit(unit.kilojoule_per_mole))
    return found


def main() -> None:
    """Run the examples and print what they show."""
    starts = generate(SMILES, 3, generator="etkdg", seed=1)
    topology = starts.graph.to_topology()
    platform = openmm.Platform.getPlatformByName("Reference")

    # 1. A System by openmmml. The Topology of this package has bond orders; one from elsewhere needs molecule=SMILES beside it
    system = MLPotential("confgf-potential").createSystem(topology)
    simulation = app.Simulation(topology, system, openmm.VerletIntegrator(0.0005), platform)
    simulation.context.setPositions(starts.positions[0] * unit.nanometer)
    simulation.minimizeEnergy()
    found = simulation.context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    moved = 10 * rmsd_matrix(starts.graph, starts.positions[:1], found[None])[0, 0]
    print(f"minimised: {moved:.2f} Å from the ETKDG start (heavy atoms)")

    # 2. Dynamics at constant energy
    simulation.context.setVelocitiesToTemperature(300, 1)
    energies = totals(simulation, 10, 40)
    print(f"NVE: total energy {np.mean(energies):.1f} kJ/mol, spread {np.ptp(energies):.2f} kJ/mol in 0.2 ps")

    # 3. The System's XML holds the name and the sha256 of the weights, and the molecule; read_system runs no stranger's code
    text = openmm.XmlSerializer.serialize(system)
    restored = read_system(text)
    print(f"restored: {restored.getNumForces()} forces from {len(text)} characters")

    # 4. The potential as a level of theory, wherever a force field is taken
    minima = relax(starts, potential_level())
    nearest = relax(minima, "mmff94s")
    apart = 10 * np.array(
        [rmsd_matrix(starts.graph, a[None], b[None])[0, 0] for a, b in zip(minima.positions, nearest.positions, strict=True)]
    )
    print(f"relaxed: {minima.counts()}, {np.round(apart, 2)} Å from the MMFF94s minima beside them")

    # 5. ConfGF's score as a force, without energy: out of noise by Langevin dynamics, with the noise lowered as it goes
    annealed = openmm.System()
    for atom in topology.atoms():
        annealed.addParticle(atom.element.mass)
    add_pseudo_force(annealed, starts.graph, sigma=0.05)
    integrator = openmm.LangevinMiddleIntegrator(298.15, 20, 0.001)
    integrator.setRandomNumberSeed(1)
    context = openmm.Context(annealed, integrator, platform)
    noise = np.random.default_rng(1).standard_normal(found.shape)
    context.setPositions((starts.positions[0] + 0.05 * noise) * unit.nanometer)
    for sigma in np.geomspace(0.05, 0.005, 15):
        context.setParameter("confgf_sigma", sigma)
        integrator.step(20)
    end = context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    nearest_start = 10 * rmsd_matrix(starts.graph, starts.positions, end[None]).min()
    print(f"annealed: {nearest_start:.2f} Å from the nearest start, after noise of 0.5 Å on every coordinate")


if __name__ == "__main__":
    main()

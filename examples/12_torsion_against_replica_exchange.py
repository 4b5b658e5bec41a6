"""The free energy of a torsion by weights and by OpenMM's replica exchange, which have nothing in common but the force field.

1,2-difluoroethane, gauche above trans. The weights are those of independent samples of a generator, one after the other; the MD climbs over
the barrier at 870 K and carries that down to 300 K by exchange.
"""

import math
import random

import mdtraj
import numpy as np
import openmm
from openmm import app, unit

from openmm_confgf import create_system, kT, reweight, score
from openmm_confgf.ensemble import Ensemble, Provenance
from openmm_confgf.generators import HarmonicGenerator
from openmm_confgf.openmm_plugin import states
from openmm_confgf.thermodynamics.autocorrelation import statistical_inefficiency

FCCF, LADDER = [0, 1, 2, 3], (300, 430, 610, 870)

samples = score(HarmonicGenerator("openff-2.2.1", temperature=300).sample("FCCF", 3000, seed=1), "openff-2.2.1")
weighed = reweight(samples)
gauche = np.abs(weighed.torsions(FCCF)) < np.radians(120)
by_weights = weighed.free_energy_difference(~gauche, gauche)

system = create_system(samples.graph, "openff-2.2.1")
integrator = openmm.LangevinMiddleIntegrator(300 * unit.kelvin, 5 / unit.picosecond, 0.001 * unit.picoseconds)
integrator.setRandomNumberSeed(1)
simulation = app.Simulation(samples.graph.to_topology(), system, integrator, openmm.Platform.getPlatform("Reference"))
simulation.context.setPositions(samples.positions[0] * unit.nanometer)
sampler = app.ReplicaExchangeSampler([{"temperature": t * unit.kelvin} for t in LADDER], simulation, 100)
sampler.replicaConformation = states(samples, simulation, len(LADDER), seed=1)  # in equilibrium at 300 K already

frames = []


def collect(sampler: app.ReplicaExchangeSampler) -> None:
    """The conformation of the replica that is at 300 K."""
    state = sampler.replicaConformation[sampler.replicaStateIndex.index(0)]
    frames.append(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer))


random.seed(1)  # of the exchanges
sampler.reporters.append(collect)
sampler.simulate(6000)

md = Ensemble(samples.graph, np.array(frames), Provenance("replica exchange", openmm.__version__)).to_mdtraj()
there = np.abs(mdtraj.compute_dihedrals(md, [FCCF])[:, 0]) < np.radians(120)
worth = len(there) / statistical_inefficiency(there[None].astype(float))  # frames one after the other resemble each other
share = there.mean()
by_md = -kT(300) * math.log(share / (1 - share))
error = kT(300) / math.sqrt(worth * share * (1 - share))

print("gauche above trans, kJ/mol")
print(f"weights            {by_weights.value:.2f} +- {by_weights.error:.2f}  of {len(samples):9,d} energies")
print(f"replica exchange   {by_md:.2f} +- {error:.2f}  of {len(frames) * 100 * len(LADDER):9,d} steps, worth {worth:.0f} frames")
print(f"they differ by {abs(by_md - by_weights.value) / math.hypot(error, by_weights.error):.1f} of their standard errors")

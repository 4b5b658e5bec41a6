"""A torsion profile in other force fields, from samples of one: the gauche effect of 1,2-difluoroethane.

The samples are weighed for OpenFF Sage, then for other levels, which costs an energy of each sample and no new ones. Where they have too
little in common with a level, there is an error or a warning instead of a number. ``"gaff-2.2.20"`` is taken as well, where AmberTools is.
"""

import copy

import numpy as np
import openmm

from openmm_confgf import create_system, reweight, score
from openmm_confgf.generators import HarmonicGenerator

FCCF = [0, 1, 2, 3]

samples = score(HarmonicGenerator("openff-2.2.1", temperature=300).sample("FCCF", 3000, seed=1), "openff-2.2.1")
sage = reweight(samples)

# the two lines: the same samples at another level, and what is wanted of it
parsley = sage.at_level("openff-1.3.0")
profile = parsley.profile(FCCF, bins=24)

# a torsion of one's own: a System whose twofold wave of F-C-C-F favours gauche by some kJ/mol more
bespoke = copy.deepcopy(create_system(samples.graph, "openff-2.2.1"))
(torsions,) = (force for force in bespoke.getForces() if isinstance(force, openmm.PeriodicTorsionForce))
torsions.addTorsion(*FCCF, 2, 0.0, 2.0)

gauche = np.abs(sage.torsions(FCCF)) < np.radians(120)
levels = {"openff-2.2.1": sage, "openff-1.3.0": parsley, "Sage and 2 kJ/mol": sage.at_level(bespoke), "mmff94s": sage.at_level("mmff94s")}
print("level              effective samples   gauche above trans, kJ/mol")
for name, weighed in levels.items():
    found = weighed.free_energy_difference(~gauche, gauche)
    print(f"{name:18s} {weighed.diagnostics.ess or 0:17.0f} {found.value:14.2f} +- {found.error:.2f}")
lowest = np.degrees(profile.centres[profile.free_energy.argmin()])
print(f"lowest bin of openff-1.3.0 at {lowest:.0f} degrees")
cost = levels["Sage and 2 kJ/mol"].free_energy_above(sage)
print(f"the wave adds {cost.value:.2f} +- {cost.error:.2f} kJ/mol to the free energy of the molecule")

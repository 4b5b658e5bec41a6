"""Equilibrium frames of a small molecule: replica exchange of many replicas at once, in a file that MDTraj opens."""

import sys
from pathlib import Path

import mdtraj
import numpy as np

from openmm_confgf import MDSettings, MolecularGraph, simulate

path = Path(sys.argv[1] if len(sys.argv) > 1 else "examples/output") / "butane.h5"
butane = MolecularGraph.from_smiles("CCCC", name="butane")

# 24 ladders of three temperatures; compiled=True pays from some ten thousand steps on
settings = MDSettings(replicas=24, ladder=(300, 400, 530), equilibration=1, frame_interval=0.1, compiled=False)
frames = simulate(butane, path, "openff-2.2.1", length=1.5, settings=settings, seed=1, device="cpu")
told = frames.diagnostics
print(frames.summary())
print(f"R-hat of the energy {told['r_hat_energy']:.2f}, exchanges accepted {np.round(told['exchange_acceptance'], 2)}")

angles = mdtraj.compute_dihedrals(mdtraj.load(str(path)), [[0, 1, 2, 3]])[:, 0]
print(f"trans {np.mean(np.abs(angles) > 2 * np.pi / 3):.0%} of the frames; 1.5 ps are too short to trust that, run it on: length=1000")

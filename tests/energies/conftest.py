"""What the tests of the batched energies share: conformations of every kind, and the comparison with OpenMM's Reference platform."""

import copy
import io

import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmm_confgf.energies import BatchedEnergy

ENERGY_TOLERANCE = 1e-5
"""kJ/mol, in float64."""

ROUNDING = 1e-14
"""Of an energy above 1e9 kJ/mol, as clashes have it: 1e-5 is then less than what the last digits of either program's float64 are worth."""

FORCE_TOLERANCE = 1e-6
"""Relative to the largest force of a frame, in float64."""


@pytest.fixture(scope="session")
def ala2_pdb(shared_data):
    """Alanine dipeptide, ACE-ALA-NME, 22 atoms."""
    return app.PDBFile(str(shared_data / "ala2_md" / "ala2.pdb"))


@pytest.fixture(scope="session")
def ala2_positions(ala2_pdb):
    """(22, 3) in nm."""
    return np.array(ala2_pdb.positions.value_in_unit(unit.nanometer))


@pytest.fixture(scope="session")
def ala2_system(ala2_pdb):
    """Makes its System: the XML files, and arguments of createSystem."""
    made = {}

    def make(*files, **settings):
        key = repr((files, settings))
        if key not in made:
            asked = {"nonbondedMethod": app.NoCutoff, "constraints": None, "rigidWater": False} | settings
            made[key] = app.ForceField(*files).createSystem(ala2_pdb.topology, **asked)
        return made[key]

    return make


@pytest.fixture(scope="session")
def peptide():
    """Gly-Ala-Ser-Gly with charged ends, as an app.Modeller: two pairs of backbone torsions that correction maps apply to."""
    from rdkit import Chem
    from rdkit.Chem import rdDistGeom

    mol = Chem.MolFromSequence("GASG")
    rdDistGeom.EmbedMolecule(mol, randomSeed=1)
    pdb = app.PDBFile(io.StringIO(Chem.MolToPDBBlock(mol)))
    modeller = app.Modeller(pdb.topology, pdb.positions)
    modeller.addHydrogens(platform=openmm.Platform.getPlatformByName("Reference"))
    return modeller


@pytest.fixture(scope="session")
def chain():
    """Makes a System of atoms in a row with each of Amber's forces, with implicit solvent or without."""

    def make(n_atoms=6, solvent=True, stiffness=1e5, cutoff=None):
        rng, system = np.random.default_rng(n_atoms), openmm.System()
        forces = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce(), openmm.PeriodicTorsionForce(), openmm.NonbondedForce()
        bonds, angles, torsions, pairs = forces
        solvation = openmm.GBSAOBCForce()
        for k in range(n_atoms):
            system.addParticle(12.0)
            charge = rng.uniform(-0.5, 0.5)
            pairs.addParticle(charge, 0.25, 0.4)
            solvation.addParticle(charge, 0.15, 0.8)
            if k > 0:
                bonds.addBond(k - 1, k, 0.15, stiffness)
            if k > 1:
                angles.addAngle(k - 2, k - 1, k, 1.9, 400)
            if k > 2:
                torsions.addTorsion(k - 3, k - 2, k - 1, k, 3, 0.3, 5)
        pairs.createExceptionsFromBonds([(k, k + 1) for k in range(n_atoms - 1)], 0.8, 0.5)
        if cutoff:
            pairs.setNonbondedMethod(openmm.NonbondedForce.CutoffNonPeriodic)
            pairs.setCutoffDistance(cutoff)
            solvation.setNonbondedMethod(openmm.GBSAOBCForce.CutoffNonPeriodic)
            solvation.setCutoffDistance(cutoff)
        for force in (*forces, solvation) if solvent else forces:
            system.addForce(force)
        return system

    return make


@pytest.fixture(scope="session")
def chain_frames():
    """Makes conformations (B, N, 3) of a `chain`."""

    def make(count, n_atoms=6, seed=3):
        turn = np.arange(n_atoms)
        helix = np.stack([0.1 * np.cos(1.9 * turn), 0.1 * np.sin(1.9 * turn), 0.06 * turn], 1)
        return helix + np.random.default_rng(seed).normal(scale=0.01, size=(count, n_atoms, 3))

    return make


@pytest.fixture(scope="session")
def md_frames():
    """Runs Langevin dynamics at 300 K from positions (N, 3) and gives `count` frames, 20 fs apart, (count, N, 3) in nm."""

    def run(system, positions, count, seed=1):
        integrator = openmm.LangevinMiddleIntegrator(300, 10, 0.0005)
        integrator.setRandomNumberSeed(seed)
        context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
        context.setPositions(positions)
        openmm.LocalEnergyMinimizer.minimize(context, maxIterations=50)
        context.setVelocitiesToTemperature(300, seed)
        frames = []
        for _ in range(count):
            integrator.step(40)
            frames.append(context.getState(getPositions=True).getPositions(asNumpy=True)._value)
        return np.array(frames)

    return run


@pytest.fixture(scope="session")
def strange_frames():
    """Conformations that no simulation visits, made of frames (B, N, 3); no atoms of theirs coincide."""

    def make(frames, seed=2):
        rng = np.random.default_rng(seed)
        n_atoms = frames.shape[1]
        clashed = frames.copy()
        for frame in clashed:
            i, j = rng.choice(n_atoms, 2, replace=False)
            direction = rng.normal(size=3)
            frame[j] = frame[i] + 0.05 * direction / np.linalg.norm(direction)
        return {
            "mirrored": frames * [-1, 1, 1],
            "random": np.array([_scattered(rng, n_atoms) for _ in frames]),
            "clashed": clashed,
            "far apart": frames * 20 + rng.normal(scale=5, size=frames.shape),
        }

    return make


@pytest.fixture(scope="session")
def reference():
    """OpenMM's energies (G, B) of each force group and forces (B, N, 3) in total, on the Reference platform."""

    def evaluate(system, frames, parameters=None):
        context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
        for name, value in (parameters or {}).items():
            context.setParameter(name, value)
        groups = sorted({force.getForceGroup() for force in system.getForces()})
        energies, forces = np.empty((len(groups), len(frames))), np.empty(frames.shape)
        for k, frame in enumerate(frames):
            context.setPositions(frame)
            for row, group in enumerate(groups):
                energies[row, k] = context.getState(getEnergy=True, groups={group}).getPotentialEnergy()._value
            forces[k] = context.getState(getForces=True).getForces(asNumpy=True)._value
        return dict(zip(groups, energies, strict=True)), forces

    return evaluate


@pytest.fixture(scope="session")
def holds(reference):
    """Asserts that BatchedEnergy agrees with the Reference platform: each force by itself, all together, and the forces on the atoms."""

    def check(system, frames, parameters=None):
        grouped = copy.deepcopy(system)
        for k, force in enumerate(grouped.getForces()):
            force.setForceGroup(k)
        theirs, pushes = reference(grouped, frames, parameters)
        batched = BatchedEnergy(grouped, device="cpu", parameters=parameters)
        ours = batched.decompose(frames, by="group")
        for k, energies in ours.items():
            assert _same(energies, theirs[k]), grouped.getForce(k).getName()
        for k in set(theirs) - set(ours):
            assert not theirs[k].any(), f"{grouped.getForce(k).getName()} is missing"
        result = batched.evaluate(frames, forces=True)
        assert result.ok.all()
        total = sum(theirs.values())
        assert _same(result.energy, total)
        largest = np.abs(pushes).max(axis=(1, 2))
        assert (np.abs(result.forces - pushes).max(axis=(1, 2)) <= FORCE_TOLERANCE * largest).all()

    return check


def _same(ours, theirs):
    return (np.abs(ours - theirs) <= np.maximum(ENERGY_TOLERANCE, ROUNDING * np.abs(theirs))).all()


def _scattered(rng, n_atoms):
    """Atoms anywhere in a box of some 0.1 nm^3 for each, no two closer than 0.05 nm, (N, 3)."""
    placed = np.empty((0, 3))
    while len(placed) < n_atoms:
        candidate = rng.uniform(0, 0.46 * n_atoms ** (1 / 3), size=3)
        if (np.linalg.norm(placed - candidate, axis=1) > 0.05).all():
            placed = np.vstack([placed, candidate])
    return placed

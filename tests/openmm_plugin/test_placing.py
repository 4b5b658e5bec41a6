import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmm_confgf import generate
from openmm_confgf.errors import ConfGFError, GenerationError, MoleculeError, WrongTypeError
from openmm_confgf.molecules.checks import check_conformations
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.peptides import peptide
from openmm_confgf.molecules.rmsd import rmsd_matrix
from openmm_confgf.openmm_plugin import place_conformer
from openmm_confgf.openmm_plugin.placing import superposed
from openmm_confgf.status import Status
from openmm_confgf.units import GAS_CONSTANT

EDGE = 1.5
TOLERANCE = 1e-5
"""Of lengths: the constraints are kept to 1e-6, and positions in single precision round at 1e-7 nm."""


@pytest.fixture(scope="module")
def dipeptide():
    return peptide(["ACE", "ALA", "NME"])


@pytest.fixture(scope="module")
def conformers(dipeptide):
    return generate(dipeptide, 6, generator="etkdg", seed=5)


@pytest.fixture(scope="module", params=["tip4pew", "tip3p"])
def solvated(request, conformers):
    """Topology, positions and System of the first conformer in water, with virtual sites or without."""
    field = app.ForceField("amber14-all.xml", f"amber14/{request.param}.xml")
    model = app.Modeller(conformers.graph.to_topology(), (conformers.positions[0] + EDGE / 2) * unit.nanometer)
    model.addSolvent(field, model=request.param, boxSize=openmm.Vec3(EDGE, EDGE, EDGE) * unit.nanometer)
    options = {"nonbondedMethod": app.CutoffPeriodic, "nonbondedCutoff": 0.7, "constraints": app.HBonds}
    return model.topology, np.array(model.positions.value_in_unit(unit.nanometer)), field.createSystem(model.topology, **options)


def check_placed(topology, system, placed):
    """Constraints, virtual sites and the ligand are right, and dynamics go on from there."""
    for k in range(system.getNumConstraints()):
        i, j, length = system.getConstraintParameters(k)
        assert np.linalg.norm(placed[i] - placed[j]) == pytest.approx(length._value, rel=TOLERANCE)
    for k in range(system.getNumParticles()):
        if system.isVirtualSite(k):
            site = system.getVirtualSite(k)
            parts = [site.getWeight(m) * placed[site.getParticle(m)] for m in range(site.getNumParticles())]
            np.testing.assert_allclose(placed[k], sum(parts), atol=1e-6)
    integrator = openmm.LangevinMiddleIntegrator(300, 1, 0.002)
    integrator.setRandomNumberSeed(1)
    simulation = app.Simulation(topology, system, integrator, openmm.Platform.getPlatform("CPU"), {"Threads": "1"})
    simulation.context.setPositions(placed)
    simulation.context.setVelocitiesToTemperature(300, 1)
    before = simulation.context.getState(energy=True).getPotentialEnergy()._value
    simulation.step(50)
    state = simulation.context.getState(energy=True)
    massive = sum(system.getParticleMass(k)._value > 0 for k in range(system.getNumParticles()))
    degrees = 3 * massive - system.getNumConstraints() - 3
    temperature = 2 * state.getKineticEnergy()._value / (degrees * GAS_CONSTANT)
    # what is minimised takes up half of the velocities' energy; a clash that is left would heat
    assert before < 0 and temperature < 330
    assert state.getPotentialEnergy()._value < before + GAS_CONSTANT * 300 * degrees / 2


def test_a_conformer_takes_the_ligands_place(solvated, conformers):
    topology, positions, system = solvated
    centre = positions[:22][conformers.graph.heavy_atoms].mean(0)
    text = openmm.XmlSerializer.serialize(system)
    placed = place_conformer(conformers[3], topology, positions, system, platform="CPU")
    check_placed(topology, system, placed)
    assert openmm.XmlSerializer.serialize(system) == text
    graph = conformers.graph
    assert check_conformations(graph, placed[:22])[0] == Status.OK
    assert np.linalg.norm(placed[:22][graph.heavy_atoms].mean(0) - centre) < 0.1
    to_new, to_old = rmsd_matrix(graph, placed[:22], conformers.positions[[3, 0]])[0]
    assert to_new < 0.04 and to_new < to_old


def test_only_the_conformer_gives_way(solvated, conformers):
    topology, positions, system = solvated
    placed = place_conformer(conformers[3], topology, positions, system, relax="molecule", platform="CPU")
    oxygens = [atom.index for atom in topology.atoms() if atom.residue.name == "HOH" and atom.element is app.element.oxygen]
    assert np.abs(placed - positions)[oxygens].max() < 0.1
    assert check_conformations(conformers.graph, placed[:22])[0] == Status.OK


@pytest.mark.parametrize("share", [1, 0.3, 0])
def test_at_a_point_the_water_changes_places_with_it(solvated, conformers, share):
    topology, positions, system = solvated
    point = positions[:22].mean(0) + np.array([EDGE / 2, 0, 0.1]) * share
    placed = place_conformer(conformers[2], topology, positions, system, at=point * unit.nanometer, platform="CPU")
    check_placed(topology, system, placed)
    assert np.linalg.norm(placed[:22].mean(0) - point) < 0.15


def test_an_order_of_its_own_and_a_ligand_across_the_box_are_no_matter(solvated, dipeptide):
    topology, positions, system = solvated
    other = generate(MolecularGraph.from_smiles(dipeptide.smiles), 1, generator="etkdg", seed=1)
    shifted = positions - positions[5] + 0.01
    placed = place_conformer(other, topology, shifted, system, platform="CPU")
    check_placed(topology, system, placed)
    assert check_conformations(dipeptide, placed[:22])[0] == Status.OK


def test_superposition_undoes_a_rotation(conformers):
    graph, frame = conformers.graph, conformers.positions[1]
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    turn *= np.linalg.det(turn)
    np.testing.assert_allclose(superposed(frame @ turn.T + [1, 2, 3], frame, graph), frame, atol=1e-12)
    for smiles in ("O", "C", "CO"):
        small = generate(smiles, 1, generator="etkdg")
        np.testing.assert_allclose(superposed(small.positions[0] + 1, small.positions[0], small.graph), small.positions[0], atol=1e-9)


def test_what_cannot_be_placed_is_refused(solvated, conformers):
    topology, positions, system = solvated
    with pytest.raises(WrongTypeError, match="place_conformer takes an Ensemble"):
        place_conformer(conformers.positions[0], topology, positions, system)
    with pytest.raises(ConfGFError, match="has 6 conformations; give one"):
        place_conformer(conformers, topology, positions, system)
    with pytest.raises(ConfGFError, match="the status CLASH"):
        place_conformer(conformers[0].replace(status=[Status.CLASH]), topology, positions, system)
    with pytest.raises(ConfGFError, match="give those of one model"):
        place_conformer(conformers[0], topology, positions[:-1], system)
    with pytest.raises(ValueError, match="not all finite"):
        place_conformer(conformers[0], topology, positions * np.nan, system)
    with pytest.raises(ValueError, match="three finite numbers"):
        place_conformer(conformers[0], topology, positions, system, at=[1, 2])
    with pytest.raises(ConfGFError, match="'all' or 'molecule'"):
        place_conformer(conformers[0], topology, positions, system, relax="water")
    with pytest.raises(MoleculeError, match="No molecule of the Topology is 'CCO'"):
        place_conformer(generate("CCO", 1, generator="etkdg"), topology, positions, system)
    mirrored = generate("CNC(=O)[C@@H](C)NC(C)=O", 1, generator="etkdg")
    with pytest.raises(MoleculeError, match="another stereoisomer"):
        place_conformer(mirrored, topology, positions, system)
    water = generate("O", 1, generator="etkdg")
    with pytest.raises(MoleculeError, match=r"has \d+ molecules 'O'; say by their indices"):
        place_conformer(water, topology, positions, system)


def test_drude_particles_are_refused(conformers):
    model = app.Modeller(conformers.graph.to_topology(), conformers.positions[0] * unit.nanometer)
    system = app.ForceField("amber14-all.xml").createSystem(model.topology)
    system.addParticle(0.4)
    model.topology.addAtom("D", None, list(model.topology.residues())[-1])
    with pytest.raises(ConfGFError, match="Drude"):
        place_conformer(conformers[0], model.topology, np.concatenate([conformers.positions[0], [[1.0, 1.0, 1.0]]]), system)


def test_where_it_does_not_fit_it_is_refused(conformers):
    """In a crystal of heavy particles that cannot move."""
    model = app.Modeller(conformers.graph.to_topology(), conformers.positions[0] * unit.nanometer)
    system = app.ForceField("amber14-all.xml").createSystem(model.topology)
    (nonbonded,) = (force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    walls = np.stack(np.meshgrid(*[np.arange(-0.9, 0.9, 0.3)] * 3), -1).reshape(-1, 3)
    chain = model.topology.addChain()
    for _ in walls:
        system.addParticle(0.0)
        nonbonded.addParticle(0, 0.4, 50.0)
        model.topology.addAtom("XE", app.element.xenon, model.topology.addResidue("XE", chain))
    positions = np.concatenate([conformers.positions[0], walls])
    with pytest.raises(GenerationError, match="take another"):
        place_conformer(conformers[0], model.topology, positions, system, platform="Reference")

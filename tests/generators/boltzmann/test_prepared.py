import copy

import numpy as np
import openmm
import pytest
import torch

from openmm_confgf.energies import Level, system_source
from openmm_confgf.energies.systems.parameters import read_parameters
from openmm_confgf.errors import ConfGFError, UnsupportedMoleculeError
from openmm_confgf.generators.boltzmann.inputs import placement_batch
from openmm_confgf.generators.boltzmann.prepared import DRAWN, PreparedMolecule
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.models.autoregressive import AutoregressiveConfig, AutoregressiveDensity
from openmm_confgf.models.placement_arrays import NUMBERS
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.placement import Placement
from openmm_confgf.units import kT


@pytest.fixture(scope="module")
def openff():
    return system_source("openff-2.2.1")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(4)
    return AutoregressiveDensity(AutoregressiveConfig(width=32, static_width=16, static_layers=1, pair_width=8, blocks=1))


def changed(openff, change):
    """OpenFF's Systems, after something was done to them."""

    def build(graph):
        system = openmm.XmlSerializer.clone(openff.build(graph))
        change(system, graph)
        return system

    return system_source(build)


def constrain(system, graph):
    system.addConstraint(*graph.bonds[0].tolist(), 0.1)


def make_virtual(system, graph):
    system.setParticleMass(2, 0.0)
    system.setVirtualSite(2, openmm.TwoParticleAverageSite(0, 1, 0.5, 0.5))


def hold_one_hydrogen(system, graph):
    """A methyl hydrogen whose bond is stiffer than the others'."""
    (force,) = [force for force in system.getForces() if isinstance(force, openmm.HarmonicBondForce)]
    for k in range(force.getNumBonds()):
        i, j, length, stiffness = force.getBondParameters(k)
        if {i, j} == {0, 2}:
            force.setBondParameters(k, i, j, length * 1.1, stiffness)


@pytest.mark.parametrize(
    ("smiles", "change", "message"),
    [
        ("CO", constrain, "constraints"),
        ("CCO", make_virtual, "virtual site"),
    ],
)
def test_systems_that_it_cannot_weigh_are_refused_in_one_sentence(openff, smiles, change, message):
    with pytest.raises(ConfGFError, match=message) as caught:
        PreparedMolecule.of(MolecularGraph.from_smiles(smiles), changed(openff, change), 300)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("level", ["mmff94s", "openff-1.3.1"])
def test_the_energies_of_a_level_are_its_own(openff, level):
    graph = MolecularGraph.from_smiles("CO")
    prepared, plain = (PreparedMolecule.of(graph, openff, 300, level=each) for each in (Level(level), None))
    positions = embed_etkdg(graph, 5, seed=0).positions
    expected = Level(level).energy(graph).evaluate(positions).energy
    np.testing.assert_allclose(prepared.energy.evaluate(positions).energy, expected, rtol=0, atol=1e-3)
    assert (prepared.target.forcefield, prepared.target.temperature) == (Level(level).target(graph).forcefield, 300)
    # what the network reads is the force field's all the same
    assert torch.equal(prepared.batch.numbers, plain.batch.numbers)


def test_a_level_with_constraints_is_refused(openff):
    with pytest.raises(ConfGFError, match="constraints"):
        PreparedMolecule.of(MolecularGraph.from_smiles("CO"), openff, 300, level=Level(changed(openff, constrain)))


def test_a_system_that_tells_alike_atoms_apart_is_weighed_all_the_same(openff):
    """Amber's improper torsions name the oxygens of a carboxylate in an order: q is the same for all labellings, energies need not be."""
    prepared = PreparedMolecule.of(MolecularGraph.from_smiles("CO"), changed(openff, hold_one_hydrogen), 300)
    torch.manual_seed(0)
    network = AutoregressiveDensity(AutoregressiveConfig(width=16, static_width=16, static_layers=1, pair_width=8, blocks=1)).eval()
    positions, _ = prepared.draw(network, 0, 0, 20)
    turned = positions[:, prepared.placement.folds[0].permutations[1]]
    log_q = [prepared.log_density(network, each) for each in (positions, turned)]
    np.testing.assert_allclose(*log_q, rtol=0, atol=1e-9)
    energies = [prepared.energy.evaluate(each).energy for each in (positions, turned)]
    assert (np.abs(energies[0] - energies[1]) > 0.01).any()


@pytest.mark.parametrize(
    ("smiles", "message"), [("CC#N", "in line"), ("CC#CC", "in line"), ("C=C=C", "in line"), ("[H][H]", "at least 3"), ("Cl", "at least 3")]
)
def test_molecules_without_internal_coordinates_are_refused(openff, smiles, message):
    with pytest.raises(UnsupportedMoleculeError, match=message):
        PreparedMolecule.of(MolecularGraph.from_smiles(smiles), openff, 300)


@pytest.mark.parametrize("smiles", ["CC(C)c1ccccc1", "CCN(CC)C(=O)C", "CC1(C)OC(=O)C(=O)O1", "CC(=O)N1CCOCC1"])
def test_labelling_anew_keeps_the_energy(openff, smiles):
    graph = MolecularGraph.from_smiles(smiles)
    prepared = PreparedMolecule.of(graph, openff, 300)
    positions = embed_etkdg(graph, 4, 0).positions
    for hands in (False, True):
        after = prepared.placement.relabelled(torch.tensor(positions), hands=hands).numpy()
        np.testing.assert_allclose(prepared.energy.evaluate(after).energy, prepared.energy.evaluate(positions).energy, rtol=0, atol=1e-6)


@pytest.mark.parametrize("smiles", ["CO", "C[C@H](N)C(=O)O", "Cc1ccccc1"])
def test_the_density_does_not_depend_on_how_many_there_are(openff, network, smiles):
    prepared = PreparedMolecule.of(MolecularGraph.from_smiles(smiles), openff, 300)
    positions, drawn = prepared.draw(network, 0, 0, DRAWN + 5)
    found = prepared.log_density(network, positions)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(prepared.log_density(network, positions[:3]), found[:3])
    np.testing.assert_array_equal(prepared.log_density(network, positions[-7:]), found[-7:])
    for again, before in zip(prepared.draw(network, 0, DRAWN + 2, 3), (positions, drawn), strict=True):
        np.testing.assert_array_equal(again, before[-3:])


def test_samples_do_not_depend_on_the_number_of_cores(openff, network, torch_cores):
    prepared, found = PreparedMolecule.of(MolecularGraph.from_smiles("CCN(CC)C=O"), openff, 300), []
    for cores in (1, 3):
        torch_cores(cores)
        positions, drawn = prepared.draw(network, 0, 0, DRAWN + 5)
        found.append((positions, drawn, prepared.log_density(network, positions)))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("smiles", ["O", "C1CO1", "CC(C)C(=O)[O-]", "C/C=C\\F", "CCN(CC)C=O", "C[C@H](N)c1ccccc1"])
def test_samples_have_the_density_that_they_were_drawn_from(openff, network, smiles):
    """Also where rings close, and whichever alike branches were exchanged; the network rounds in float32."""
    prepared = PreparedMolecule.of(MolecularGraph.from_smiles(smiles), openff, 300)
    positions, drawn = prepared.draw(network, 1, 0, 40)
    assert np.isfinite(drawn).all()
    np.testing.assert_allclose(drawn, prepared.log_density(network, positions), rtol=0, atol=1e-4)


def test_samples_that_are_not_finite_have_no_density(openff, network):
    broken = copy.deepcopy(network)
    torch.nn.init.constant_(broken.length_head.bias, torch.nan)
    prepared = PreparedMolecule.of(MolecularGraph.from_smiles("O"), openff, 300)
    positions, drawn = prepared.draw(broken, 0, 0, 3)
    assert np.isnan(positions).any() and (drawn == -np.inf).all()


def test_any_label_and_turn_is_drawn(openff, network):
    prepared = PreparedMolecule.of(MolecularGraph.from_smiles("CCO"), openff, 300)
    positions, _ = prepared.draw(network, 0, 0, 1500)
    labelled = prepared.placement.relabelled(torch.tensor(positions)).numpy()
    (fold,) = prepared.placement.folds
    counts = [np.isclose(labelled[:, permutation], positions).all((1, 2)).sum() for permutation in fold.permutations]
    assert sum(counts) == 1500 and all(abs(count - 500) < 6 * np.sqrt(1500 * 2 / 9) for count in counts)
    axis = positions[:, 1] - positions[:, 0]
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    assert (np.abs(axis.mean(0)) < 6 / np.sqrt(3 * 1500)).all()  # each component of a random direction has the variance 1/3


@pytest.mark.parametrize("smiles", ["O", "C[C@H](N)C(=O)O", "Cc1ccccc1", "CC(=O)[O-]"])
def test_inputs_are_the_parameters_of_each_step(openff, smiles):
    graph = MolecularGraph.from_smiles(smiles)
    system, placement = openff.build(graph), Placement.of(graph)
    batch, parameters = placement_batch(graph, placement, system, 400), read_parameters(graph, system)
    n = len(graph)
    assert batch.numbers.shape == (n, NUMBERS) and batch.pairs.shape == (n, n, 5) and batch.atoms.shape == (n, 6)
    assert all(getattr(batch, name).isfinite().all() for name in ("numbers", "length", "second", "between"))
    for k, step in enumerate(placement.steps):
        if k:
            at, stiffness = parameters.bonds[step.atom, step.parent]
            np.testing.assert_allclose(batch.length[k], [at, np.sqrt(kT(400) / stiffness)], rtol=1e-6)
        assert [placement.steps[j].atom for j in batch.frames[k][: min(k, 3)]] == [step.parent, step.second, step.third][: min(k, 3)]
    np.testing.assert_allclose(batch.numbers[:, 0], parameters.charge[placement.order], atol=1e-6)
    assert (batch.torsion | batch.closes | batch.beside | torch.tensor([s.third < 0 or s.ring for s in placement.steps])).all()

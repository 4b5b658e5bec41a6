import dataclasses
import math

import numpy as np
import pytest

from openmm_confgf.errors import ConfGFError, GenerationError, UnsupportedMoleculeError, WeightsError
from openmm_confgf.generators import HarmonicGenerator, TBGGenerator
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.generators.tbg.atom_types import atom_types
from openmm_confgf.generators.tbg.filter import log_multiplicity
from openmm_confgf.models.cards import read_card
from openmm_confgf.models.ode import AdaptiveSteps, FixedSteps
from openmm_confgf.models.weights import load_weights, save_weights
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.peptides import peptide
from openmm_confgf.status import Status
from openmm_confgf.testing import DensityGeneratorSuite


@pytest.mark.filterwarnings("ignore:.*look at the effective sample size")
class TestTBGGenerator(DensityGeneratorSuite):
    molecules = ("O", "S")
    refused = "CF"
    atol = 1e-3  # a step that is nearly too long is taken or not as rounding has it, which differs with the batch
    log_q_atol = 0.05  # forwards and back, at the published tolerances of the integrator
    draws, largest_error = 500, 0.25

    @pytest.fixture(scope="class")
    def generator(self, water_weights):
        return TBGGenerator(water_weights)

    @pytest.fixture(scope="class")
    def second(self):
        """A distribution of water that is much broader."""
        return HarmonicGenerator(temperature=2000)


def test_every_sample_has_a_row_and_every_drop_is_counted(water_weights):
    ensemble = TBGGenerator(water_weights).sample("O", 200, seed=1)
    told = ensemble.diagnostics["filter"]
    assert len(ensemble) == 200 == sum(told.values()) and ensemble.diagnostics["evaluations"] > 20
    assert np.isfinite(ensemble.log_q).all() and np.isfinite(ensemble.energy).all()  # water has no hand that could be wrong


def test_samples_that_run_out_of_steps_are_never_weighed(water_weights):
    ensemble = TBGGenerator(water_weights, integrator=AdaptiveSteps(max_steps=3)).sample("O", 20, seed=1)
    assert (ensemble.status == Status.NOT_CONVERGED).all() and (ensemble.energy == np.inf).all() and (ensemble.log_q == -np.inf).all()
    assert ensemble.diagnostics["filter"]["not_converged"] == 20
    with pytest.raises(GenerationError, match=r"ran out of steps; give more"):
        TBGGenerator(water_weights, integrator=AdaptiveSteps(max_steps=3)).log_prob("O", embed_etkdg(ensemble.graph, 2, seed=0).positions)


def test_a_network_that_computes_nan_has_samples_without_weight(water_weights):
    generator = TBGGenerator(water_weights)
    for parameter in generator.network.parameters():
        parameter.data.fill_(math.nan)
    ensemble = generator.sample("O", 5, seed=1)
    assert not ensemble.ok.any() and np.isposinf(ensemble.energy).all() and np.isneginf(ensemble.log_q).all()


def test_fixed_steps_come_close_to_adaptive_ones(water_weights):
    adaptive, fixed = (
        TBGGenerator(water_weights, integrator=i).sample("O", 50, seed=2) for i in (AdaptiveSteps(1e-6, 1e-6), FixedSteps(40))
    )
    np.testing.assert_allclose(fixed.positions, adaptive.positions, atol=1e-4)
    known = np.isfinite(adaptive.log_q)
    np.testing.assert_allclose(fixed.log_q[known], adaptive.log_q[known], atol=0.02)
    assert fixed.diagnostics["evaluations"] == 160


def test_conformations_that_are_not_the_molecule_have_little_density(water_weights):
    generator = TBGGenerator(water_weights)
    positions = generator.sample("O", 1, seed=0).positions
    expected = generator.log_prob("O", positions)
    apart = positions.copy()
    apart[0, 1] += 0.3
    # the oxygen in the place of a hydrogen, a broken bond
    assert max(generator.log_prob("O", positions[:, [1, 0, 2]])[0], generator.log_prob("O", apart)[0]) < expected[0] - 10
    # the mirror image of a molecule without a hand, and its hydrogens exchanged
    np.testing.assert_allclose(
        [generator.log_prob("O", -positions), generator.log_prob("O", positions[:, [0, 2, 1]])], [expected] * 2, atol=0.02
    )


@pytest.mark.parametrize(
    ("smiles", "variant", "expected"),
    [
        ("O", "tbg", math.log(1)),  # both hydrogens on one atom: 2! / 2!
        ("CO", "tbg", math.log(24 / 6)),  # 4! labels of hydrogens, 3! on the carbon
        ("CO", "graph", math.log(1)),
        ("OO", "graph", math.log(4 / 2)),  # 2! 2!, and the molecule turned end to end
        ("C[C@H](F)Cl", None, math.log(2)),  # of its hand
        ("CC(C)C", "graph", math.log(math.factorial(3) * math.factorial(9) / (6 * 6**3))),
        ("C[C@H](O)[C@@H](C)O", "graph", math.log(2)),  # of a meso compound whose ends are told apart
        ("C[C@H](O)[C@H](C)O", "graph", math.log(2 * math.factorial(6) * 2**5 / (2 * 36))),
    ],
)
def test_the_multiplicity_counts_the_samples_that_become_one(smiles, variant, expected):
    graph = MolecularGraph.from_smiles(smiles)
    types = np.eye(len(graph), dtype=np.float32) if variant is None else atom_types(graph, variant)
    found = log_multiplicity(graph, types)
    assert found == pytest.approx(expected, abs=1e-9)


def test_the_multiplicity_of_both_hands_and_of_meso_compounds():
    """R,R is the same turned end to end, and its mirror image is another; meso is the same turned end to end and reflected."""
    graphs = [MolecularGraph.from_smiles(smiles) for smiles in ("C[C@H](O)[C@@H](C)O", "C[C@H](O)[C@H](C)O")]
    found = [log_multiplicity(graph, atom_types(graph, "tbg")) for graph in graphs]
    assert found[0] == pytest.approx(found[1], abs=1e-9)


def test_chiral_peptides_have_the_factor_two_of_the_reflected_proposal():
    both = [log_multiplicity(p, atom_types(p, "tbg+full")) for p in (peptide("AS"), peptide("GG"))]
    assert both[0] == pytest.approx(math.log(2)) and both[1] == pytest.approx(0.0)


def test_weights_of_another_molecule_are_refused(water_weights, tmp_path):
    network, card = load_weights(water_weights)
    path = tmp_path / "graph.safetensors"
    save_weights(path, network, dataclasses.replace(card, settings={"variant": "graph", "scale": 10.0}))
    with pytest.raises(UnsupportedMoleculeError, match=r"'CO' has . types of atoms in the variant 'graph', and the weights 'water' know 5"):
        TBGGenerator(path).sample("CO", 2)
    save_weights(path, network, dataclasses.replace(card, settings={}))
    with pytest.raises(WeightsError, match="tells no variant and scale"):
        TBGGenerator(path)
    assert read_card(water_weights.with_suffix(".json")).settings["variant"] == "tbg"


def test_systems_with_constraints_are_refused(water_weights):
    import openmm

    def build(graph):
        system = openmm.XmlSerializer.clone(TBGGenerator(water_weights).source.build(graph))
        system.addConstraint(0, 1, 0.1)
        return system

    with pytest.raises(ConfGFError, match="constraints"):
        TBGGenerator(water_weights, build, 300).sample("O", 2)

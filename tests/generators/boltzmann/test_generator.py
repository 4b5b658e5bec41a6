import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from openmm_confgf.energies import BatchedEnergy, Level
from openmm_confgf.errors import ConfGFError, ForceFieldError, UnsupportedMoleculeError, WeightsError
from openmm_confgf.generators import HarmonicGenerator
from openmm_confgf.generators.boltzmann import BoltzmannGenerator
from openmm_confgf.models.autoregressive import AutoregressiveConfig, AutoregressiveDensity
from openmm_confgf.models.cards import Card, CardTarget
from openmm_confgf.models.weights import save_weights
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.placement import Placement
from openmm_confgf.status import Status
from openmm_confgf.testing import DensityGeneratorSuite

SIZES = {"width": 32, "static_width": 16, "static_layers": 1, "pair_width": 8, "blocks": 1}
CARD = Card("untrained", "AutoregressiveDensity", SIZES, "", [1, 6, 7, 8], 3, 20, ["x"], [], {}, target=CardTarget("openff-2.2.1", 300.0))


def saved(folder, card=CARD, seed=1):
    torch.manual_seed(seed)
    path = folder / "boltzmann.safetensors"
    save_weights(path, AutoregressiveDensity(AutoregressiveConfig(**SIZES)), card)
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def shared(weights):
    return BoltzmannGenerator(weights=weights)


@pytest.mark.filterwarnings("ignore:.*look at the effective sample size")
class TestBoltzmannGenerator(DensityGeneratorSuite):
    refused = "CC#N"

    @pytest.fixture(scope="class")
    def generator(self, weights):
        return BoltzmannGenerator(weights=weights)

    @pytest.fixture(scope="class")
    def second(self, weights):
        """The same network, with the thermal widths of 500 K."""
        return BoltzmannGenerator(temperature=500, weights=weights)


@pytest.mark.parametrize("smiles", ["O", "OO", "CO"])
def test_the_density_integrates_to_one(shared, smiles):
    """Over samples of a density that knows nothing of the network; both have the hydrogens of CH3 in one of their two orders."""
    n = 8000
    drawn = HarmonicGenerator(temperature=500, starts=4).sample(smiles, n, seed=1)
    positions = Placement.of(drawn.graph).relabelled(torch.tensor(drawn.positions), hands=True).numpy()
    weights = np.exp(shared.log_prob(drawn.graph, positions) - drawn.log_q)
    error = weights.std() / math.sqrt(n)
    assert error < 0.08
    assert abs(weights.mean() - 1) < 6 * error


@pytest.mark.parametrize("smiles", ["CO", "CC(C)C(=O)[O-]", "Cc1ccccc1", "CCN(CC)C=O"])
def test_the_density_knows_no_labels_of_alike_atoms_and_no_motion(shared, smiles):
    ensemble = shared.sample(smiles, 20, seed=2)
    rng = np.random.default_rng(1)
    expected = shared.log_prob(ensemble.graph, ensemble.positions)
    for fold in Placement.of(ensemble.graph).folds:
        for permutation in fold.permutations[1:]:
            found = shared.log_prob(ensemble.graph, ensemble.positions[:, permutation])
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    moved = ensemble.positions @ Rotation.random(random_state=rng).as_matrix().T + rng.normal(size=3)
    np.testing.assert_allclose(shared.log_prob(ensemble.graph, moved), expected, rtol=0, atol=5e-4)


def test_mirror_images_of_chiral_molecules_have_no_density(shared):
    for smiles in ("C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "CC[C@H](C)O"):
        ensemble = shared.sample(smiles, 20, seed=3)
        assert np.isfinite(ensemble.log_q).all()
        assert (shared.log_prob(ensemble.graph, ensemble.positions * [1, 1, -1]) == -np.inf).all()
    one, other = (MolecularGraph.from_smiles(smiles) for smiles in ("C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O"))
    ensemble = shared.sample(one, 20, seed=3)
    mirrored = Placement.of(other).relabelled(torch.tensor(ensemble.positions * [1, 1, -1]), hands=True).numpy()
    assert np.isfinite(shared.log_prob(other, mirrored)).all()
    assert (shared.log_prob(other, ensemble.positions) == -np.inf).all()


def test_water_has_no_hand(shared):
    ensemble = shared.sample("OO", 20)
    assert np.isfinite(shared.log_prob("OO", ensemble.positions * [1, 1, -1])).all()


def test_samples_have_the_stereo_that_is_wanted_and_their_energies(shared):
    ensemble = shared.sample("C[C@H](N)C(=O)O", 50, seed=1)
    assert not (ensemble.status == Status.WRONG_STEREO).any()
    energy = BatchedEnergy(shared.source.build(ensemble.graph), device="cpu").evaluate(ensemble.positions).energy
    np.testing.assert_allclose(ensemble.energy, energy, rtol=1e-9)
    assert (ensemble.target.forcefield, ensemble.target.temperature) == ("openff-2.2.1", 300.0)


def test_what_the_weights_do_not_know_is_said(shared):
    with pytest.warns(UserWarning, match="'CS' has S, .* know H, C, N, O, 3 to 20 atoms, openff-2.2.1 at 300 K: look at the effective"):
        shared.sample("CS", 1)
    with pytest.warns(UserWarning, match="has 26 atoms"):
        shared.sample("CCCCCCCC", 1)


def test_another_temperature_is_taken_and_said(weights):
    generator = BoltzmannGenerator(temperature=350, weights=weights)
    with pytest.warns(UserWarning, match="openff-2.2.1 at 350 K"):
        ensemble = generator.sample("O", 2)
    assert ensemble.target.temperature == 350


def test_molecules_that_it_refuses_have_no_density_either(shared):
    for smiles in ("CC#N", "[H][H]"):
        with pytest.raises(UnsupportedMoleculeError):
            shared.log_prob(smiles, np.zeros((1, len(MolecularGraph.from_smiles(smiles)), 3)))
    found = shared.log_prob("O", np.zeros((2, 3, 3)))
    assert (found == -np.inf).all()  # atoms in one place


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"temperature": 0}, ConfGFError, "above 0 K"),
        ({"temperature": math.nan}, ConfGFError, "above 0 K"),
        ({"temperature": math.inf}, ConfGFError, "above 0 K"),
        ({"forcefield": "nope"}, ForceFieldError, "nope"),
        ({"level": "nope"}, ForceFieldError, "nope"),
    ],
)
def test_settings_that_cannot_be_are_named(weights, options, kind, message):
    with pytest.raises(kind, match=message):
        BoltzmannGenerator(weights=weights, **options)


@pytest.mark.filterwarnings("ignore:.*look at the effective sample size")
def test_weights_of_a_level_sample_it_unless_told_otherwise(tmp_path):
    card = dataclasses.replace(CARD, target=CardTarget("mmff94s", 300.0, "openff-2.2.1"))
    path = saved(tmp_path, card)
    samples = BoltzmannGenerator(weights=path).sample("CO", 3)
    assert samples.target.forcefield == "MMFF94s" and samples.target.temperature == 300
    np.testing.assert_allclose(samples.energy, Level("mmff94s").energy("CO").evaluate(samples.positions).energy)
    classical = BoltzmannGenerator("openff-2.2.1", weights=path).sample("CO", 3)
    assert classical.target.forcefield == "openff-2.2.1"
    np.testing.assert_array_equal(classical.log_q, samples.log_q)
    asked = BoltzmannGenerator("openff-2.2.1", weights=saved(tmp_path), level="mmff94s").sample("CO", 3)
    np.testing.assert_array_equal(asked.energy, samples.energy)


def test_weights_without_a_target_need_one(tmp_path):
    path = saved(tmp_path, dataclasses.replace(CARD, target=None))
    for options in ({}, {"temperature": 300}, {"forcefield": "openff-2.2.1"}):
        with pytest.raises(ConfGFError, match="name no force field and temperature; give both"):
            BoltzmannGenerator(weights=path, **options)
    assert np.isfinite(BoltzmannGenerator("openff-2.2.1", 300, path).sample("O", 2).log_q).all()


def test_weights_of_another_network_are_refused(untrained_confgf, tmp_path):
    with pytest.raises(WeightsError, match="are those of a ConfGF, and the generator 'boltzmann' runs a AutoregressiveDensity"):
        BoltzmannGenerator(weights=untrained_confgf)
    with pytest.raises(WeightsError):
        BoltzmannGenerator(weights=tmp_path / "none.safetensors")

"""The generators of this package as models that can be aligned."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from openmm_confgf.alignment import AlignmentRun
from openmm_confgf.alignment.density import DensityModel
from openmm_confgf.alignment.flow_field import NOISE, FlowField
from openmm_confgf.alignment.noise_field import NoiseField
from openmm_confgf.alignment.recipe import alignable
from openmm_confgf.errors import ConfGFError
from openmm_confgf.generators import create_generator
from openmm_confgf.generators.tbg import TBGGenerator
from openmm_confgf.models.cards import Card, CardTarget
from openmm_confgf.models.egnn import EGNN, EGNNConfig
from openmm_confgf.models.weights import save_weights
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.peptides import peptide
from openmm_confgf.testing import DenoisingModelSuite


class TestNoiseField(DenoisingModelSuite):
    molecules = ("CCO", "C[C@H](O)F")

    @pytest.fixture(scope="class")
    def model(self):
        return NoiseField(create_generator("confgf-noise"))


def egnn_weights(folder, zero):
    torch.manual_seed(0)
    network = EGNN(EGNNConfig(5, 16, 2))
    if zero:
        for parameter in network.parameters():
            torch.nn.init.zeros_(parameter)
    settings, target = {"variant": "tbg", "scale": 10.0}, CardTarget("openff-2.2.1", 300.0)
    card = Card("water", "EGNN", dataclasses.asdict(network.config), "", [1, 8], 3, 3, ["x"], [], {}, target=target, settings=settings)
    save_weights(folder / "tbg.safetensors", network, card)
    return folder / "tbg.safetensors"


class TestFlowField(DenoisingModelSuite):
    molecules = ("O",)

    @pytest.fixture(scope="class")
    def model(self, tmp_path_factory):
        return FlowField(TBGGenerator(egnn_weights(tmp_path_factory.mktemp("flow"), zero=False)))


def test_a_flow_without_velocity_leaves_the_noise(tmp_path):
    """Where it stays is t (x + sigma z); what is left to x is known."""
    model = FlowField(TBGGenerator(egnn_weights(tmp_path, zero=True)))
    rng, levels = np.random.default_rng(0), torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)
    positions, noise = (torch.from_numpy(rng.standard_normal(shape)) for shape in ((2, 3, 3), (3, 3, 3)))
    positions, noise = 0.1 * (positions - positions.mean(1, keepdim=True)), noise - noise.mean(1, keepdim=True)
    sigma = NOISE.least * (NOISE.most / NOISE.least) ** levels[:, None, None, None]
    stays = (10 * positions + sigma * noise[:, None]) / (1 + sigma)
    wanted = math.log(NOISE.most / NOISE.least) * ((stays - 10 * positions) / sigma).square().sum((-2, -1))
    found = model.denoising_errors(MolecularGraph.from_smiles("O"), positions, levels, noise)
    assert torch.allclose(found.double(), wanted, rtol=1e-5)


def test_the_energy_of_a_density_is_minus_log_q():
    generator, graph = create_generator("boltzmann", "boltzmann-ala2"), peptide(["ACE", "ALA", "NME"])
    drawn = generator.sample(graph, 40, seed=0, device="cpu")
    model = DensityModel(generator)
    found = model.model_energies(graph, drawn.positions, seed=0)
    assert np.allclose(found.detach().numpy(), -drawn.log_q, atol=2e-3)  # single precision here
    # to learn from, those that no broad component has a part in
    learnt = model.sample(graph, 40, seed=0)
    same = np.isclose(learnt, drawn.positions + learnt.mean(1, keepdims=True), atol=1e-9).all((1, 2))
    assert 20 < same.sum() < 40
    assert np.isfinite(model.model_energies(graph, learnt, seed=0).detach().numpy()).all()


def test_labels_that_are_never_drawn_are_those_that_are():
    """A simulation may have the hydrogens of glycine the other way round."""
    model, graph = DensityModel(create_generator("boltzmann")), peptide("GA")
    drawn, placement = model.sample(graph, 8, seed=0), model.prepare(graph).placement
    known = model.model_energies(graph, drawn, seed=0)
    for hand in placement.hands:
        swapped = drawn[:, hand.permutations[1]]
        assert np.isneginf(model.prepare(graph).log_density(model.generator.network, swapped)).all()
        torch.testing.assert_close(model.model_energies(graph, swapped, seed=0), known, rtol=0, atol=2e-3)
    assert placement.hands and known.isfinite().all()


def test_generators_without_what_it_takes_are_refused():
    with pytest.raises(ConfGFError, match="'etkdg' cannot be aligned; use one of confgf-noise, tbg, boltzmann"):
        alignable(create_generator("etkdg"), AlignmentRun())
    with pytest.raises(ConfGFError, match="'confgf' cannot be aligned"):
        alignable(create_generator("confgf"), AlignmentRun())


def test_the_anchor_is_the_training_loss_over_all_levels(butanol, butanol_minima, mixture):
    """Of an exact denoiser: minus the log-likelihood, so that its gradient vanishes at the weights of the data."""
    from openmm_confgf.alignment import Denoised

    weights = np.array([0.1, 0.2, 0.3, 0.4])
    model = Denoised(mixture, draws=64)
    gradients = []
    for logits in (np.log(weights), np.zeros(4)):
        mixture.network.logits.data = torch.tensor(logits)
        found = [
            torch.autograd.grad(model.anchor(butanol, butanol_minima[0], weights, seed=s), mixture.network.logits)[0] for s in range(60)
        ]
        gradients.append((torch.stack(found).mean(0), torch.stack(found).std(0) / math.sqrt(len(found))))
    (at_data, error), (elsewhere, _) = gradients
    assert (at_data.abs() < 6 * error + 0.02).all() and elsewhere.abs().max() > 0.1

"""What a GPU computes is what the CPU computes; tests/test_fake_cuda.py holds the same paths to one device where there is none."""

import numpy as np
import pytest
import torch

from openmm_confgf.dynamics.molecular_dynamics import MolecularDynamics
from openmm_confgf.dynamics.settings import MDSettings
from openmm_confgf.energies import BatchedEnergy, PackedEnergy
from openmm_confgf.generators import ConfGFDistGenerator, ConfGFGenerator, PublishedConfGFGenerator
from openmm_confgf.models.confgf import ConfGF, NoiseLadder
from openmm_confgf.models.features import featurise
from openmm_confgf.models.field import FieldConfig, PairField
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.training.data import TrainingMolecule
from openmm_confgf.training.module import TrainingModule
from openmm_confgf.training.objectives.denoising import Denoising
from openmm_confgf.training.objectives.distance_scores import DistanceScores
from tests.test_fake_cuda import every_force

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")

DEVICE = "cuda"
SIZES = FieldConfig(pair_width=8, atom_width=8, vectors=2, references=2, graph_layers=1, blocks=2)


@pytest.fixture
def frames():
    """(5, 6, 3) in nm: atoms about 0.15 nm apart."""
    helix = np.stack([0.1 * np.cos(1.9 * np.arange(6)), 0.1 * np.sin(1.9 * np.arange(6)), 0.06 * np.arange(6)], 1)
    return helix + np.random.default_rng(0).normal(scale=0.01, size=(5, 6, 3))


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_energies_and_forces(compiled, frames):
    frames[2] = np.nan
    here, there = (BatchedEnergy(every_force(), device=device, compiled=compiled) for device in ("cpu", DEVICE))
    expected, found = here.evaluate(frames, forces=True), there.evaluate(frames, forces=True)
    np.testing.assert_array_equal(found.status, expected.status)
    np.testing.assert_allclose(found.energy, expected.energy, atol=1e-5)
    np.testing.assert_allclose(found.forces, expected.forces, rtol=1e-6, atol=1e-5)


def test_several_molecules_and_their_gradients(frames):
    packed = PackedEnergy([every_force(), every_force()], device=DEVICE)
    x = torch.tensor(frames, requires_grad=True)
    (found,) = torch.autograd.grad(sum(energy.sum() for energy in packed.energy([x, x.to(DEVICE)])).cpu(), x)
    expected = BatchedEnergy(every_force(), device="cpu").evaluate(frames, forces=True).forces
    np.testing.assert_allclose(found, -2 * expected, rtol=1e-6, atol=1e-5)


def test_dynamics_are_resumed_bit_for_bit(frames):
    settings = MDSettings(
        ladder=(300.0, 400.0), replicas=4, equilibration=0.01, frame_interval=0.01, exchange_interval=0.002, compiled=False
    )
    dynamics = MolecularDynamics(every_force(), settings, device=DEVICE)
    state = dynamics.start(frames)
    assert state.positions.is_cuda and state.attempts.sum()
    (first, _), (second, _) = dynamics.next_frames(state), dynamics.next_frames(state)
    assert torch.equal(first.positions, second.positions)


@pytest.mark.parametrize("make", [ConfGFGenerator, PublishedConfGFGenerator, ConfGFDistGenerator])
def test_generators(make):
    generator = make() if make is ConfGFGenerator else make(ladder=NoiseLadder(levels=5, steps_per_level=5))
    ensemble = generator.sample("CC[C@H](O)F", 4, device=DEVICE)
    assert len(ensemble) == 4 and next(generator.net.parameters()).is_cuda
    if make is ConfGFGenerator:
        assert ensemble.ok.all()


@pytest.mark.filterwarnings("ignore:You are trying to .self.log")
def test_training_steps():
    graph, rng = MolecularGraph.from_smiles("CC[C@H](O)F"), np.random.default_rng(0)
    x = rng.normal(size=(3, len(graph), 3)).astype(np.float32)
    molecules = [TrainingMolecule(featurise(graph), x, np.zeros(3, np.float32), graph.smiles)]
    for objective, net in ((Denoising(), PairField(SIZES)), (DistanceScores(), ConfGF())):
        batch, module = objective.batch(molecules, rng), TrainingModule(objective, net, 1e-3, 40)
        expected = module.training_step(batch, 0).item()
        found = module.to(DEVICE).training_step(batch.to(DEVICE), 0)
        found.backward()
        assert found.item() == pytest.approx(expected, rel=1e-4)
        assert all(parameter.grad.is_cuda for parameter in module.parameters())

"""Every path that takes a device, on a CUDA device that is not there: torch's FakeTensorMode computes types, shapes and devices alone,
and raises where an operation mixes devices. No number is checked here; tests/test_cuda.py compares them where there is a GPU.

A CPU build of torch refuses slices of fake ``cuda`` tensors, and its autograd aborts the process on them; `tests.fake_cuda.FAKE`, a device
that is not the CPU either, is what ``device="cuda"`` resolves to here.

What a run on a GPU would ask the device for (a number, the rows of a mask, an array) has no answer here. `Answers` gives one, so that what
follows runs too. Not faked, since other software takes the device out of torch's hands:

- ``rounds.fit``, whose Trainer (Lightning) moves module and batches by itself: its step, its validation and its optimizer are run here;
- ``compiled=True``: torch.compile writes code for the GPU that is there;
- random numbers of a CUDA generator (`ReplicaLangevin`): the generator is one of the CPU, and where it was asked for is checked;
- the memory that is free on the GPU (`Potential.piece_size`).

FakeTensorMode lets pass what CUDA lets pass: numbers (zero-dimensional tensors) and indices on the CPU.
"""

import numpy as np
import openmm
import pytest
import torch
from packaging.version import Version

from openmm_confgf.dynamics.langevin import ReplicaLangevin
from openmm_confgf.dynamics.molecular_dynamics import MolecularDynamics
from openmm_confgf.dynamics.settings import MDSettings
from openmm_confgf.energies import SUPPORTED, BatchedEnergy
from openmm_confgf.energies.batched import formulas
from openmm_confgf.energies.batched.packed import PackedEnergy
from openmm_confgf.generators import ConfGFDistGenerator, ConfGFGenerator, PublishedConfGFGenerator
from openmm_confgf.generators.samplers import annealed_langevin, embed_distances, mode_ascent, probability_flow
from openmm_confgf.models import field
from openmm_confgf.models.confgf import ConfGF, EdgeGraph, NoiseLadder
from openmm_confgf.models.features import collate, conformation_hands, featurise
from openmm_confgf.models.field import FieldConfig, PairField
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.training.data import TrainingMolecule
from openmm_confgf.training.module import TrainingModule
from openmm_confgf.training.objectives.denoising import Denoising
from openmm_confgf.training.objectives.distance_scores import DistanceScores
from tests.fake_cuda import FAKE, FakeCuda

pytestmark = pytest.mark.skipif(Version(torch.__version__).release < (2, 13), reason="older torch cannot fake this device")

SIZES = FieldConfig(pair_width=8, atom_width=8, vectors=2, references=2, graph_layers=1, blocks=2)


@pytest.fixture
def fake(monkeypatch):
    return FakeCuda(monkeypatch)


@pytest.fixture(scope="module")
def graphs():
    return [MolecularGraph.from_smiles(smiles) for smiles in ("C[C@H](O)F", "CCO")]


@pytest.fixture(scope="module")
def batch(graphs):
    return collate([featurise(graph) for graph in graphs])


@pytest.fixture(scope="module")
def molecules(graphs):
    found = []
    for graph in graphs:
        x = np.random.default_rng(1).normal(size=(3, len(graph), 3)).astype(np.float32)
        found.append(TrainingMolecule(featurise(graph), x, np.zeros(3, np.float32), graph.smiles, x[:, None]))
    return found


def denoiser(net, batch):
    """A network's denoiser of positions (M, K, N, 3), with random positions and hands, all on the device."""
    net = net.to(FAKE)
    on_device = batch.to(FAKE)
    positions = torch.randn(*batch.atom_mask.shape, 4, 3).transpose(1, 2).to(FAKE)
    hands = conformation_hands(positions, on_device)
    graph = net.encode(on_device)
    return lambda x, sigma: net(graph, x, sigma.expand(x.shape[:2]), hands), positions


def test_the_field_and_its_samplers(batch, fake):
    net = PairField(SIZES)
    with fake.answering():
        denoise, positions = denoiser(net, batch)
        sigmas = torch.logspace(0, -2, 3).to(FAKE)
        for sampler in (probability_flow, mode_ascent):
            assert sampler(denoise, positions, sigmas).device == FAKE


def edges(batch):
    """The published network's graph on the device, made on the CPU; its distances, and a noise level."""
    graph = EdgeGraph.from_batch(batch)
    return graph, torch.ones(4, len(graph.edges))


def test_the_published_network_and_its_sampler(batch, fake):
    net, (graph, lengths) = ConfGF(), edges(batch)
    with fake.answering():
        net, graph, lengths = net.to(FAKE), graph.to(FAKE), lengths.to(FAKE).unsqueeze(-1)
        ladder = NoiseLadder(levels=2)
        sigmas, steps = ladder.sigmas().to(lengths), ladder.step_sizes().to(lengths)

        def score(x, sigma):
            return net(graph, x.squeeze(-1), sigma).unsqueeze(-1)

        assert annealed_langevin(score, lengths, sigmas, steps, 2, lambda: torch.randn_like(lengths)).device == FAKE


def test_positions_from_distances(batch, fake):
    graph, lengths = edges(batch)
    with fake.answering():
        graph = graph.to(FAKE)
        start = torch.randn(4, len(graph.elements), 3).to(FAKE)
        assert embed_distances(lengths.to(FAKE), start, graph.edges, steps=2).device == FAKE


@pytest.mark.parametrize("name", ["field", "published", "distances"])
def test_generators(name, monkeypatch, fake):
    ladder = NoiseLadder(levels=2, steps_per_level=1)
    generator = {
        "field": lambda: ConfGFGenerator(start="noise", flow_calls=2, mode_seeking_sigmas=(0.1,)),
        "published": lambda: PublishedConfGFGenerator(ladder=ladder),
        "distances": lambda: ConfGFDistGenerator(ladder=ladder),
    }[name]()
    monkeypatch.setattr("openmm_confgf.generators.confgf_paper.embed_distances", lambda lengths, start, edges: start)  # needs gradients
    graph = MolecularGraph.from_smiles("CCO")
    with fake.answering(len(graph)):
        ensemble = generator.sample(graph, 3, device="cuda")
        assert next(generator.net.parameters()).device == FAKE
    assert len(ensemble) == 3


def every_force():
    """A System of six atoms with each kind of force that is supported."""
    count, system = 6, openmm.System()
    bonds, angles = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    torsions, ryckaert, maps = openmm.PeriodicTorsionForce(), openmm.RBTorsionForce(), openmm.CMAPTorsionForce()
    pairs, solvent = openmm.NonbondedForce(), openmm.GBSAOBCForce()
    custom_bonds = openmm.CustomBondForce("k*(r-0.1)^2")
    custom_angles, custom_torsions = openmm.CustomAngleForce("k*theta^2"), openmm.CustomTorsionForce("k*(1+cos(2*theta))")
    external = openmm.CustomExternalForce("k*(x^2+y^2+select(z-1, z, 0))")
    custom_pairs = openmm.CustomNonbondedForce("e1*e2*kinds(kind1, kind2)*table(r)/r")
    custom_solvent = openmm.CustomGBForce()
    for name in ("e", "kind"):
        custom_pairs.addPerParticleParameter(name)
    custom_pairs.addTabulatedFunction("table", openmm.Continuous1DFunction([0.0, 1.0, 0.5, 0.0], 0.0, 1.0))
    custom_pairs.addTabulatedFunction("kinds", openmm.Discrete2DFunction(2, 2, [1.0, 2.0, 2.0, 3.0]))
    custom_solvent.addPerParticleParameter("q")
    custom_solvent.addComputedValue("i", "q1*q2/(r+0.1)", openmm.CustomGBForce.ParticlePairNoExclusions)
    custom_solvent.addComputedValue("b", "1/(1+i^2)", openmm.CustomGBForce.SingleParticle)
    custom_solvent.addEnergyTerm("q*b", openmm.CustomGBForce.SingleParticle)
    custom_solvent.addEnergyTerm("q1*q2*b1*b2/r", openmm.CustomGBForce.ParticlePair)
    maps.addMap(4, list(np.linspace(0, 1, 16)))
    for force in (custom_bonds, custom_angles, custom_torsions, external):
        force.addGlobalParameter("k", 2.0)
    for k in range(count):
        system.addParticle(12.0)
        pairs.addParticle(0.1 * k, 0.2, 0.3)
        solvent.addParticle(0.1 * k, 0.15, 0.8)
        external.addParticle(k)
        custom_pairs.addParticle([0.1 * k, k % 2])
        custom_solvent.addParticle([0.1 * k])
    for k in range(count - 1):
        bonds.addBond(k, k + 1, 0.15, 1000)
        custom_bonds.addBond(k, k + 1)
        pairs.addException(k, k + 1, 0.0, 0.2, 0.0)
    for k in range(count - 2):
        angles.addAngle(k, k + 1, k + 2, 1.9, 400)
        custom_angles.addAngle(k, k + 1, k + 2)
    for k in range(count - 3):
        atoms = k, k + 1, k + 2, k + 3
        torsions.addTorsion(*atoms, 3, 0.3, 5)
        ryckaert.addTorsion(*atoms, *range(1, 7))
        custom_torsions.addTorsion(*atoms)
    maps.addTorsion(0, 0, 1, 2, 3, 1, 2, 3, 4)
    for force in (pairs, solvent):
        force.setNonbondedMethod(type(force).CutoffNonPeriodic)
        force.setCutoffDistance(1.0)
    pairs.setUseSwitchingFunction(True)
    pairs.setSwitchingDistance(0.8)
    parts = (bonds, angles, torsions, ryckaert, maps, pairs, solvent, custom_bonds, custom_angles, custom_torsions)
    for force in (*parts, external, custom_pairs, custom_solvent):
        system.addForce(force)
    return system


def packed():
    """The Systems of two molecules, the larger with all forces."""
    small = openmm.System()
    spring = openmm.HarmonicBondForce()
    spring.addBond(0, 1, 0.1, 1000)
    for _ in range(2):
        small.addParticle(12.0)
    small.addForce(spring)
    return PackedEnergy([every_force(), small], device="cuda")


def test_every_supported_force_is_here():
    assert {type(force).__name__ for force in every_force().getForces()} == set(SUPPORTED)


@pytest.mark.parametrize(("fine", "dtype"), [(1, torch.float64), (0, torch.float32)], ids=["all usable", "not all usable"])
def test_energies(fine, dtype, fake):
    one, several = BatchedEnergy(every_force(), device="cuda", dtype=dtype), packed()
    assert one.device == FAKE and {buffer.device for buffer in one.potential.buffers()} == {FAKE}
    given = np.random.default_rng(0).normal(size=(3, 6, 3))
    with fake.answering(fine):
        assert one.evaluate(given).energy.shape == (3,)
        assert one.evaluate(given, forces=True).forces.shape == (3, 6, 3)
        assert len(one.decompose(given)) == len(SUPPORTED)
        for forces in (False, True):
            assert [len(found.energy) for found in several.evaluate([given, given[:2, :2]], forces)] == [3, 2]


@pytest.mark.parametrize(("where", "fine"), [(FAKE, 1), (torch.device("cpu"), 0)], ids=["positions there", "positions on the CPU"])
def test_differentiable_energies(where, fine, fake):
    one, several = BatchedEnergy(every_force(), device="cuda"), packed()
    with fake.answering(fine):
        x, y = (torch.randn(3, n, 3).to(where).requires_grad_(True) for n in (6, 2))
        for energy in (one.energy(x), sum(several.energy([x, y]))):
            assert energy.device == where
            (first,) = torch.autograd.grad(energy.sum(), x, create_graph=True)
            assert torch.autograd.grad((first**2).sum(), x)[0].device == where
        one.energy(x).sum().backward()
        assert x.grad.device == where


@pytest.mark.parametrize("precision", ["single", "mixed"])
def test_dynamics_with_replica_exchange(precision, fake):
    lengths = {"frame_interval": 0.004, "equilibration": 0.002, "exchange_interval": 0.002}
    settings = MDSettings(ladder=(300.0, 350.0, 400.0), replicas=2, precision=precision, compiled=False, **lengths)
    dynamics = MolecularDynamics(every_force(), settings, device="cuda")
    with fake.answering():
        state, frames = dynamics.next_frames(dynamics.start(np.random.default_rng(0).normal(size=(2, 6, 3))))
        assert state.positions.device == state.velocities.device == FAKE and frames.shape == (2, 6, 3)
        assert state.attempts.sum() and dynamics.integrator.kinetic_temperature(state).shape == (6,)
        saved = [np.zeros((3, 6, 6)), np.zeros((3, 6, 6)), state.attempts, state.accepted]
        assert dynamics.restore(6, *saved).positions.device == FAKE
    assert set(fake.generators) == {FAKE}, "random numbers are drawn where they are used"


@pytest.mark.filterwarnings("ignore:You are trying to .self.log")
def test_training_steps(molecules, fake):
    rng = np.random.default_rng(0)
    for objective, net in ((Denoising(), PairField(SIZES)), (DistanceScores(), ConfGF())):
        batch, module = objective.batch(molecules, rng), TrainingModule(objective, net, 1e-3, 40)
        module.to(FAKE)
        made = module.configure_optimizers()
        with fake.answering():
            loss = module.training_step(batch.to(FAKE), 0)
            loss.backward()
            assert loss.device == FAKE and all(p.grad.device == FAKE for p in module.parameters())
            made["optimizer"].step()
            made["lr_scheduler"]["scheduler"].step()
            module.validation_step(batch.to(FAKE), 0)


def features_with_centres_on_the_cpu(distance):
    return distance - torch.linspace(0, 1, field.N_RADIAL)


def velocities_on_the_cpu(integrator, like):
    return torch.ones(len(integrator.masses), like.shape[-1])


def spring_with_its_own_constant(x, equilibrium, k):
    return torch.full(k.shape, 2.0) * x


@pytest.mark.parametrize(
    ("owner", "name", "broken", "run"),
    [
        (field, "radial", features_with_centres_on_the_cpu, lambda fake, batch: test_the_field_and_its_samplers(batch, fake)),
        (ReplicaLangevin, "_thermal", velocities_on_the_cpu, lambda fake, batch: test_dynamics_with_replica_exchange("mixed", fake)),
        (formulas, "harmonic", spring_with_its_own_constant, lambda fake, batch: test_energies(1, torch.float64, fake)),
    ],
)
def test_a_constant_on_the_cpu_is_found(owner, name, broken, run, fake, batch, monkeypatch):
    monkeypatch.setattr(owner, name, broken)
    with pytest.raises(RuntimeError, match="same device"):
        run(fake, batch)


def test_an_array_of_what_is_not_on_the_cpu_is_found(fake):
    with fake.answering():
        there = torch.ones(2).to(FAKE)
        with pytest.raises(TypeError, match="lazy:0 device type"):
            there.numpy()
        assert there.cpu().numpy().shape == (2,)

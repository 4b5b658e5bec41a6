"""Profiles against sums over pairs of atoms that are really placed there."""

import itertools
import math

import numpy as np
import openmm
import pytest
import torch

from openmm_confgf.energies import system_source
from openmm_confgf.generators.boltzmann.inputs import placement_batch
from openmm_confgf.generators.boltzmann.prepared import PreparedMolecule
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.models.autoregressive import AutoregressiveConfig, AutoregressiveDensity
from openmm_confgf.models.local_frames import TURN, local_frames, place
from openmm_confgf.models.torsion_profiles import INTERACTIONS, meeting_profile, on_nodes, torsion_profile
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.peptides import peptide
from openmm_confgf.molecules.placement import Placement
from openmm_confgf.units import kT

SIZES = {"width": 32, "static_width": 16, "static_layers": 1, "pair_width": 8, "blocks": 1}
TEMPERATURE, NODES = 310.0, 7


@pytest.fixture(scope="module")
def prepared():
    return PreparedMolecule.of(peptide("AS"), system_source("amber14-all.xml,implicit/obc1.xml"), TEMPERATURE)


def drawn(prepared, count):
    torch.manual_seed(0)
    uniform = torch.rand(count, len(prepared.graph), 6, dtype=torch.float64)
    return AutoregressiveDensity(AutoregressiveConfig(**SIZES)).sample(prepared.batch, uniform)[:2]


def interactions(system, a, b, distance):
    """By the formulas, with the parameters of the System: of two atoms at a distance in nm."""
    force = next(force for force in system.getForces() if force.getName() == "NonbondedForce")
    (q, sigma, epsilon), (other_q, other_sigma, other_epsilon) = ([x._value for x in force.getParticleParameters(k)] for k in (a, b))
    sigma, epsilon, d = 0.5 * (sigma + other_sigma), math.sqrt(epsilon * other_epsilon), np.maximum(distance, math.sqrt(0.005))
    energy = 4 * epsilon * ((sigma / d) ** 12 - (sigma / d) ** 6) / kT(TEMPERATURE)
    energy = np.where(energy > 0, energy / (1 + energy / 8), energy)
    d = 10 * d
    screened = 1 / d - 1 / np.sqrt(d**2 + 4 * np.exp(-(d**2) / 16))
    charges = 1389.35 * q * other_q / kT(TEMPERATURE) * screened
    return np.stack([energy, charges, 3 * screened, np.exp(-0.5 * (d / 3) ** 2), np.exp(-0.5 * (d / 1.58) ** 2)], -1)


@pytest.mark.parametrize("looks_ahead", [False, True])
def test_profiles_are_sums_over_pairs(prepared, looks_ahead):
    batch, order = prepared.batch, prepared.placement.order
    system = system_source("amber14-all.xml,implicit/obc1.xml").build(prepared.graph)
    coordinates, placed = drawn(prepared, 3)
    strengths, of_carried = torch.randn(2, len(order), len(order), INTERACTIONS).unbind()
    orders = {k: 1 for k in batch.torsion_rows} | {fold.leader: fold.order for fold in prepared.placement.folds}
    for k in batch.torsion_rows:
        step, frame = slice(k, k + 1), local_frames(batch, placed, slice(k, k + 1))
        length, second = coordinates[:, step, 0], coordinates[:, step, 1]
        carried = batch.carried[k] if looks_ahead else []
        # where each atom is when the torsion is 0, and how much it counts
        parts = [(k, (length, second, torch.zeros_like(length)), strengths[k, :k])]
        for atom in carried:
            where = tuple(torch.full_like(length, x) for x in (atom.length, atom.angle, atom.turn))
            parts.append((atom.step, where, of_carried[atom.step, :k] / orders[k]))
        wanted = np.zeros((3, NODES))
        for node in range(NODES):
            for image in range(orders[k]):
                turn = batch.start[k] + batch.width[k] * node / (NODES - 1) + image * TURN / orders[k]
                for atom, (r, theta, phi), counts in parts:
                    there = place(batch, frame, placed, r, theta, turn + phi, step)[:, 0]
                    for m in range(k):
                        distance = torch.linalg.vector_norm(there - placed[:, m], dim=-1).numpy()
                        wanted[:, node] -= interactions(system, int(order[atom]), int(order[m]), distance) @ counts[m].numpy()
        local = 10 * ((placed[:, :k] - frame[0]) @ frame[1][:, 0])
        ahead = [(atom, of_carried[atom.step, :k].double()) for atom in carried]
        found = torsion_profile(batch, k, strengths[k, :k].double(), local, 10 * length[:, 0], second[:, 0], NODES, ahead)
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-3)  # the parameters are in single precision
    assert set(orders.values()) == {1, 2, 3}


@pytest.mark.parametrize(
    "smiles, fold",
    [("[NH3+]CCCC(C[NH3+])CC(=O)[O-]", 1), ("[NH3+]CCc1cc(C(=O)[O-])cc(c1)C(=O)[O-]", 2), ("[NH3+]CC(C[NH3+])(C[NH3+])CCC(=O)[O-]", 3)],
)
def test_meetings_add_the_logarithm_of_the_mean_of_boltzmann_factors(smiles, fold):
    """Place by place; also where the torsion is folded, and where several groups turn."""
    graph = MolecularGraph.from_smiles(smiles)
    placement = Placement.of(graph)
    batch = placement_batch(graph, placement, openmm.System(), 300.0)
    torch.manual_seed(0)
    uniform, strengths = torch.rand(2, len(graph), 6, dtype=torch.float64), torch.randn(len(graph), len(graph), INTERACTIONS).double()
    _, placed, _ = AutoregressiveDensity(AutoregressiveConfig(**SIZES)).sample(batch, uniform)
    orders, compared = {each.leader: each.order for each in placement.folds}, []
    for k, seen in batch.meetings.items():
        seen = [meeting for meeting in seen if meeting.pairs < 60]
        origin, axes = (x[:, 0].numpy() for x in local_frames(batch, placed, slice(k, k + 1)))
        order, wanted = orders.get(k, 1), np.zeros((2, NODES))
        for row, node, image, meeting in itertools.product(range(2), range(NODES), range(order), seen):
            turn = float(batch.start[k] + batch.width[k] * node / (NODES - 1)) + image * TURN / order
            resting = meeting.resting.numpy()
            if meeting.frame == (meeting.other,) * 3:
                resting = placed[row, meeting.other].numpy() + resting
            else:
                p, a, t = placed[row, list(meeting.frame)].numpy()
                z = (a - p) / np.linalg.norm(a - p)
                y = np.cross(t - a, z) / np.linalg.norm(np.cross(t - a, z))
                resting = p + resting @ np.stack([np.cross(z, y), y, z])
            factors = []
            for x, y, z in meeting.turning.numpy():
                turned = [x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn), z]
                d = np.maximum(10 * np.linalg.norm(origin[row] + axes[row] @ turned - resting, axis=-1), 2.0)
                counts = strengths[max(k, meeting.other), min(k, meeting.other)].numpy()
                screened = 1 / d - 1 / np.sqrt(d**2 + 4 * np.exp(-(d**2) / 16))
                gaussians = [3 * np.exp(-0.5 * ((d - centre) / width) ** 2) for centre, width in ((3.6, 0.6), (5.0, 1.0), (7.5, 2.0))]
                attraction = counts[0] * 1389.35 / 2.494339 * screened + sum(s * g for s, g in zip(counts[1:4], gaussians, strict=True))
                factors.append(np.exp(-meeting.charge * attraction - counts[4] * 3 * np.exp(-(d**2) / 8)))
            wanted[row, node] += np.log(np.mean(factors))
            compared.append((order, meeting.pairs))
        frame = tuple(x[:, 0] for x in local_frames(batch, placed, slice(k, k + 1)))
        found = meeting_profile(batch, k, seen, strengths, placed, frame, NODES)
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5, atol=1e-4)
    assert max(compared) >= (fold, 3)


@pytest.mark.parametrize("sequence", ["AS", "WP", "FR", "HT", ""])
def test_carried_atoms_are_where_they_are_in_conformers(sequence):
    """Those that RDKit embeds, on the average; also where a torsion's frame is of two rings, and a flat ring's neighbour is none."""
    graph = peptide(sequence) if sequence else MolecularGraph.from_smiles("CCCc1ccc(cc1)-c1c2CCCCc2ccc1")
    prepared = PreparedMolecule.of(graph, system_source("amber14-all.xml,implicit/obc1.xml" if sequence else "openff-2.2.1"), TEMPERATURE)
    batch, placement = prepared.batch, prepared.placement
    positions = placement.relabelled(torch.tensor(embed_etkdg(graph, 20, 0).positions), hands=True)
    placed = positions[:, placement.order.tolist()]
    turns, carried = placement.coordinates(positions)[..., 2], 0
    for k, atoms in batch.carried.items():
        step = slice(k, k + 1)
        frame = local_frames(batch, placed, step)
        for atom in atoms:
            length, angle, turn = (torch.full((20, 1), x, dtype=torch.float64) for x in (atom.length, atom.angle, atom.turn))
            there = place(batch, frame, placed, length, angle, turn + turns[:, step], step)[:, 0]
            # siblings are 0.18 apart and more; histidine's ring is the worst, for its angles are those of a hexagon in the force field
            assert torch.linalg.vector_norm(there - placed[:, atom.step], dim=-1).mean() < 0.06
            carried += 1
    assert carried >= 5


def test_what_a_torsion_carries():
    """The ring of tyrosine but for the carbon that is folded with the first one, siblings, and nothing that is folded with all of them."""
    prepared = PreparedMolecule.of(peptide("AY"), system_source("amber14-all.xml,implicit/obc1.xml"), TEMPERATURE)
    symbols = [prepared.graph.mol.GetAtomWithIdx(int(atom)).GetSymbol() for atom in prepared.placement.order]
    found = [(symbols[k], "".join(sorted(symbols[atom.step] for atom in atoms))) for k, atoms in prepared.batch.carried.items()]
    assert found == [
        ("C", "CCCHHHHO"),  # CD1
        ("N", "CH"),
        ("C", "H"),
        ("O", ""),  # of the carboxylate
        ("C", "O"),
        ("N", "CH"),
        *[("H", "")] * 3,  # CH3, NH3+, OH
    ]


def test_nodes_in_between_are_on_lines():
    found = on_nodes(torch.tensor([[[0.0, 3.0, -3.0]]]), 7)
    torch.testing.assert_close(found[0, 0], torch.tensor([0.0, 1.0, 2.0, 3.0, 1.0, -1.0, -3.0]))


def test_profiles_change_nothing_until_they_are_learnt(prepared):
    torch.manual_seed(1)
    without = AutoregressiveDensity(AutoregressiveConfig(**SIZES))
    given = AutoregressiveDensity(AutoregressiveConfig(**SIZES, nodes=30))
    ahead = AutoregressiveDensity(AutoregressiveConfig(**SIZES, nodes=30, ahead=8))
    far = AutoregressiveDensity(AutoregressiveConfig(**SIZES, nodes=30, reach=100))
    missing = [network.load_state_dict(without.state_dict(), strict=False).missing_keys for network in (given, ahead, far)]
    own, others, groups = ([f"{name}_strengths.{part}" for part in ("weight", "bias")] for name in ("pair", "carried", "group"))
    assert missing == [own, own + others, own + groups]
    coordinates, placed = drawn(prepared, 5)
    before, *same = (network.log_prob(prepared.batch, coordinates, placed) for network in (without, given, ahead, far))
    assert all(torch.equal(before, found) for found in same)
    for network, layer in ((given, given.pair_strengths), (ahead, ahead.carried_strengths), (far, far.group_strengths)):
        torch.nn.init.normal_(layer.weight)
        assert not torch.allclose(network.log_prob(prepared.batch, coordinates, placed), before, atol=0.1)

"""Profiles against sums over pairs of atoms that are really placed there."""

import math

import numpy as np
import pytest
import torch

from openmm_confgf.energies import system_source
from openmm_confgf.generators.boltzmann.prepared import PreparedMolecule
from openmm_confgf.models.autoregressive import AutoregressiveConfig, AutoregressiveDensity
from openmm_confgf.models.placement_batch import TURN, local_frames, place
from openmm_confgf.models.torsion_profiles import INTERACTIONS, on_nodes, torsion_profile
from openmm_confgf.molecules.peptides import peptide
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


def test_profiles_are_sums_over_pairs(prepared):
    batch, order = prepared.batch, prepared.placement.order
    system = system_source("amber14-all.xml,implicit/obc1.xml").build(prepared.graph)
    coordinates, placed = drawn(prepared, 3)
    strengths = torch.randn(len(order), len(order), INTERACTIONS)
    orders = {k: 1 for k in batch.torsion_rows} | {fold.leader: fold.order for fold in prepared.placement.folds}
    for k in batch.torsion_rows:
        step, frame = slice(k, k + 1), local_frames(batch, placed, slice(k, k + 1))
        length, second = coordinates[:, step, 0], coordinates[:, step, 1]
        wanted = np.zeros((3, NODES))
        for node in range(NODES):
            for image in range(orders[k]):
                turn = batch.start[k] + batch.width[k] * node / (NODES - 1) + image * TURN / orders[k]
                there = place(batch, frame, placed, length, second, turn.expand_as(length), step)[:, 0]
                for m in range(k):
                    distance = torch.linalg.vector_norm(there - placed[:, m], dim=-1).numpy()
                    wanted[:, node] -= interactions(system, int(order[k]), int(order[m]), distance) @ strengths[k, m].numpy()
        local = 10 * ((placed[:, :k] - frame[0]) @ frame[1][:, 0])
        found = torsion_profile(batch, k, strengths[k, :k].double(), local, 10 * length[:, 0], second[:, 0], NODES)
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-3)  # the parameters are in single precision
    assert set(orders.values()) == {1, 2, 3}


def test_nodes_in_between_are_on_lines():
    found = on_nodes(torch.tensor([[[0.0, 3.0, -3.0]]]), 7)
    torch.testing.assert_close(found[0, 0], torch.tensor([0.0, 1.0, 2.0, 3.0, 1.0, -1.0, -3.0]))


def test_profiles_change_nothing_until_they_are_learnt(prepared):
    torch.manual_seed(1)
    without = AutoregressiveDensity(AutoregressiveConfig(**SIZES))
    given = AutoregressiveDensity(AutoregressiveConfig(**SIZES, nodes=30))
    missing = given.load_state_dict(without.state_dict(), strict=False).missing_keys
    assert missing == ["pair_strengths.weight", "pair_strengths.bias"]
    coordinates, placed = drawn(prepared, 5)
    before, same = (network.log_prob(prepared.batch, coordinates, placed) for network in (without, given))
    assert torch.equal(before, same)
    torch.nn.init.normal_(given.pair_strengths.weight)
    assert not torch.allclose(given.log_prob(prepared.batch, coordinates, placed), before, atol=0.1)

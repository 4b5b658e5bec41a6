import dataclasses
import importlib.util
import math

import numpy as np
import pytest
import torch

from openmm_confgf.errors import ConfGFError
from openmm_confgf.files.archive import ReferenceMolecule
from openmm_confgf.models.energy_field import EnergyField, EnergyFieldConfig
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.training.data import prepare
from openmm_confgf.training.objectives.energy_denoising import EnergyDenoising, score_matching_loss
from openmm_confgf.training.objectives.registry import PRESETS, presets_of


@pytest.fixture(scope="module")
def molecules():
    rng = np.random.default_rng(0)
    graphs = [MolecularGraph.from_smiles(s) for s in ("O", "CO")]
    return prepare([ReferenceMolecule(graph.name, graph, rng.standard_normal((2, len(graph), 3)) / 10, np.zeros(2)) for graph in graphs])


@pytest.fixture(scope="module")
def batch(molecules):
    return EnergyDenoising(draws=400).batch(molecules, np.random.default_rng(1))


def test_noise_has_its_size_and_moves_no_mean(molecules, batch):
    assert batch.noise.shape == (2, 400, 6, 3) and not batch.noise[0, :, 3:].any()
    assert batch.noise.sum(2).abs().max() < 1e-5
    clean = batch.noisy - 0.1 * batch.noise
    known = torch.from_numpy(molecules[1].positions)
    assert ((clean[1][:, None] - known).abs().amax((-2, -1)).min(1).values < 1e-5).all()
    # the mean takes 3 of 18 coordinates: chi^2 with 15 degrees of freedom, in 400 draws
    assert abs((batch.noise[1] ** 2).sum((-2, -1)).mean() - 15) < 6 * math.sqrt(30 / 400)


def test_the_loss_of_what_knows_the_noise_is_zero_and_of_what_does_nothing_its_share(batch):
    known, ignorant = (score_matching_loss(scores, batch, 0.1) for scores in (-batch.noise / 0.1, torch.zeros_like(batch.noise)))
    assert known.abs().max() < 1e-10 and known.shape == (2, 400)
    assert abs(ignorant[0].mean() - 6 / 9) < 6 * math.sqrt(2 * 6 / 400) / 9


def test_paths_are_refused(molecules):
    with_paths = dataclasses.replace(molecules[0], paths=molecules[0].positions[:, None])
    with pytest.raises(ConfGFError, match="paths"):
        EnergyDenoising().batch([with_paths], np.random.default_rng(0))


def test_preset_is_that_of_the_network():
    assert presets_of("EnergyField") == ["confgf-potential"]
    assert PRESETS["confgf-potential"].sigma_pm == EnergyFieldConfig().sigma_pm


@pytest.mark.skipif(importlib.util.find_spec("torchmdnet") is None, reason="torchmd-net is not installed")
def test_an_energy_is_learnt_and_one_for_another_noise_is_refused(molecules):
    torch.manual_seed(0)
    sizes = EnergyFieldConfig(pair_width=16, atom_width=16, references=2, graph_layers=1, width=16, layers=1, heads=2)
    net, objective, rng = EnergyField(sizes), EnergyDenoising(draws=16), np.random.default_rng(2)
    optimizer, losses = torch.optim.Adam(net.parameters(), 5e-3), []
    for _ in range(40):
        loss = objective.losses(net, objective.batch(molecules, rng)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.85 * np.mean(losses[:5])
    with torch.no_grad():  # as validations run
        batch = objective.batch(molecules, np.random.default_rng(3))
        assert objective.losses(net.eval(), batch).shape == (2, 16) and objective.members(batch) == 32
    with pytest.raises(ConfGFError, match="noise of 10 pm, not 20 pm"):
        EnergyDenoising(sigma_pm=20).losses(net, batch)

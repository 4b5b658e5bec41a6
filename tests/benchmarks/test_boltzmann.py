import dataclasses

import numpy as np
import pytest
import torch

from openmm_confgf.benchmarks.boltzmann import BoltzmannBenchmark, BoltzmannRow, benchmark_boltzmann
from openmm_confgf.errors import ConfGFError
from openmm_confgf.generators import BoltzmannGenerator
from openmm_confgf.models.autoregressive import AutoregressiveConfig, AutoregressiveDensity
from openmm_confgf.models.cards import Card, CardTarget
from openmm_confgf.models.registry import describe_network
from openmm_confgf.models.weights import save_weights
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.peptides import peptide


@pytest.fixture
def generator(tmp_path):
    """Of random weights."""
    torch.manual_seed(0)
    network = AutoregressiveDensity(AutoregressiveConfig(width=16, static_width=16, static_layers=1, pair_width=8, blocks=1, bins=24))
    target = CardTarget("openff-2.2.1", 300.0)
    card = Card("tiny", *describe_network(network), "", [1, 6, 7, 8], 3, 40, [], [], {}, None, target)
    save_weights(tmp_path / "tiny.safetensors", network, card)
    return BoltzmannGenerator(weights=tmp_path / "tiny.safetensors")


def test_rows_of_molecules_and_those_that_fail(generator):
    molecules = [MolecularGraph.from_smiles(smiles) for smiles in ("O", "CC#N")]
    found = benchmark_boltzmann([generator], molecules, samples=400, seeds=2, device="cpu")
    (row,) = found.rows
    assert row.molecule == "O" and not row.seen and len(row.ess) == len(row.k_hat) == 2 and row.rate > 0
    assert 0.99 < row.right <= 1 and row.positive_phi is None is row.largest_difference
    (failure,) = found.failed
    assert failure.molecule == "CC#N" and "in line" in failure.error
    # water is nearly harmonic, which is where the network starts
    assert min(row.ess) > 0.5
    assert "O" in found.to_table() and "tiny" in found.to_table()


def test_two_generators_in_one_table(generator, tmp_path):
    card = dataclasses.replace(generator.loaded.card, name="tinier")
    save_weights(tmp_path / "tinier.safetensors", generator.network, card)
    other = BoltzmannGenerator(weights=tmp_path / "tinier.safetensors")
    molecules = [MolecularGraph.from_smiles(smiles) for smiles in ("O", "OO", "CC#N")]
    found = benchmark_boltzmann([generator, other], molecules, samples=100, seeds=1, device="cpu")
    assert [(row.molecule, row.weights) for row in found.rows] == [(name, card) for name in ("O", "OO") for card in ("tiny", "tinier")]
    assert found.rows[0].ess == found.rows[1].ess
    assert [(failure.molecule, failure.weights) for failure in found.failed] == [("CC#N", "tiny"), ("CC#N", "tinier")]


def test_profiles_are_those_of_a_reference(generator):
    """Frames drawn by the generator's own weights: phi > 0 as often, to the statistics of both."""
    graph = peptide(["ACE", "ALA", "NME"])
    samples = generator.sample(graph, 3000, seed=5, device="cpu")
    reference = samples.replace(log_q=None)
    found = benchmark_boltzmann([generator], [graph], samples=300, seeds=1, reference=reference, device="cpu").rows[0]
    assert found.positive_phi is not None and found.positive_phi[2] == pytest.approx(
        -np.log(_positive(reference) / (1 - _positive(reference))), abs=1e-9
    )
    assert found.largest_difference is not None and found.largest_difference[0] > 0 and found.largest_difference[1] > 0
    positive, n = _positive(reference), len(reference)
    # frames are independent here, so that blocks of them have the error of a share's log odds; of 20 blocks, it is known to a sixth
    expected = 1 / np.sqrt(n * positive * (1 - positive))
    assert found.positive_phi[3] == pytest.approx(expected, rel=6 / np.sqrt(2 * 19))


def _positive(ensemble):
    from openmm_confgf.molecules.backbone import backbone_torsions
    from openmm_confgf.molecules.geometry import dihedrals

    return float((dihedrals(torch.tensor(ensemble.positions), torch.tensor(backbone_torsions(ensemble.graph)[0])) > 0).double().mean())


def test_withheld_figures_are_told_as_such():
    row = BoltzmannRow("X", "boltzmann", "tiny", True, [0.5, None], [0.4, 0.9], 1.0, 100.0, None, None)
    text = BoltzmannBenchmark([row, dataclasses.replace(row, ess=[0.5, 0.6])], {}).to_table()
    assert "withheld (1 of 2)" in text and "55.0 ± 7.1" in text


def test_bad_calls(generator):
    with pytest.raises(ConfGFError, match="nothing to sample"):
        benchmark_boltzmann([generator], [])
    graph = MolecularGraph.from_smiles("O")
    other = generator.sample(MolecularGraph.from_smiles("OO"), 3, device="cpu")
    with pytest.raises(ConfGFError, match="reference is of 'OO', which is none of the molecules"):
        benchmark_boltzmann([generator], [graph], reference=other)

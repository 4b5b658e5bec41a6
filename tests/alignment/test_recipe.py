"""Whole alignments, small ones."""

import dataclasses
import json

import numpy as np
import pytest

from openmm_confgf.alignment import AlignmentRun, align, alignment_model
from openmm_confgf.ensemble import Ensemble, Provenance
from openmm_confgf.errors import ConfGFError
from openmm_confgf.generators import create_generator
from openmm_confgf.models.weights import load_weights
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.peptides import peptide
from tests.alignment.mixture import MixtureModel

RUN = AlignmentRun(k=2, samples=4, molecules=2, draws=2, steps=4, round_steps=2)


@pytest.fixture(scope="module")
def graphs():
    return [MolecularGraph.from_smiles(smiles) for smiles in ("OCCO", "CCCO", "C", "NCCO", "FCCO")]


@pytest.fixture(scope="module")
def aligned(graphs, tmp_path_factory):
    folder, said = tmp_path_factory.mktemp("aligned"), []
    result = align(create_generator("confgf-noise"), graphs, "mmff94s", folder, RUN, compare=4, device="cpu", say=said.append)
    return folder, result, said


def test_a_field_learns_and_what_says_nothing_is_left_out(aligned):
    folder, result, said = aligned
    assert list(result.skipped) == ["C"] and "same energy" in result.skipped["C"] and any("left out" in line for line in said)
    assert len(result.rows) == 2 and len(result.comparisons) == 1
    assert {"energy_w2", "basin_js", "usable"} == set(result.comparisons[0].before) == set(result.comparisons[0].after)
    assert json.loads((folder / "comparison.json").read_text())[0]["molecule"] == result.comparisons[0].molecule


def test_aligned_weights_generate_and_their_card_tells(aligned):
    _, result, _ = aligned
    network, card = load_weights(result.weights)
    assert card.name == "confgf-noise-eba" and card.parent["name"] == "confgf"
    assert (card.target.forcefield, card.target.temperature) == ("mmff94s", 300.0)
    assert card.training["loss"] == "eba" and card.training["best_round"] == result.best_round
    drawn = create_generator("confgf-noise", result.weights).sample("CCO", 2, seed=0, device="cpu")
    assert drawn.ok.all()


def test_a_finished_run_is_read_and_another_one_refused(aligned, graphs):
    folder, result, _ = aligned
    again = align(create_generator("confgf-noise"), graphs, "mmff94s", folder, RUN, compare=0, device="cpu")
    assert again.rows == result.rows and again.best_round == result.best_round
    with pytest.raises(ConfGFError, match="another alpha"):
        align(create_generator("confgf-noise"), graphs, "mmff94s", folder, dataclasses.replace(RUN, alpha=0.5), device="cpu")


def test_a_model_from_outside_learns_from_conformers_of_a_file(butanol, butanol_minima, mixture, tmp_path):
    given = Ensemble(butanol, butanol_minima[0], Provenance("mine", ""))
    run = dataclasses.replace(RUN, k=4, draws=16, steps=60, round_steps=20, learning_rate=0.05)
    result = align(mixture, [given], "mmff94s", tmp_path, run)
    order = np.argsort(mixture.network.logits.numpy())
    assert result.weights is None and result.best_round and order[-1] == butanol_minima[1].argmin()


def test_a_model_that_gives_nan_is_named_before_training(butanol, butanol_minima, tmp_path):
    class Broken(MixtureModel):
        def denoising_errors(self, *arguments):
            return super().denoising_errors(*arguments) * float("nan")

    given = Ensemble(butanol, butanol_minima[0], Provenance("mine", ""))
    with pytest.raises(ConfGFError, match="energies of 'CCCCO' are not finite"):
        align(Broken(butanol_minima[0]), [given], "mmff94s", tmp_path, RUN)
    assert not (tmp_path / "last.pt").exists()


def test_an_exact_density_learns_raw_energies(tmp_path):
    model, temperature = alignment_model("boltzmann", "boltzmann-ala2")
    assert temperature == 300.0
    run = AlignmentRun(minimised=False, k=16, samples=32, molecules=1, steps=2, round_steps=1, temperature=temperature)
    said = []
    result = align(
        model, [peptide(["ACE", "ALA", "NME"])], "amber99sbildn.xml,amber99_obc.xml", tmp_path, run, device="cpu", say=said.append
    )
    assert len(result.rows) == 2 and not result.comparisons and any("nothing is held out" in line for line in said)
    assert load_weights(result.weights)[1].target == model.loaded.card.target


def test_frames_that_no_density_draws_are_counted(tmp_path):
    model, temperature = alignment_model("boltzmann", "boltzmann-ala2")
    graph = peptide(["ACE", "ALA", "NME"])
    drawn = model.sample(graph, 8, seed=0, device="cpu")
    positions = np.concatenate([drawn.positions, -drawn.positions[:3]])
    run = AlignmentRun(minimised=False, k=4, molecules=1, steps=2, round_steps=1, temperature=temperature)
    said = []
    given = Ensemble(graph, positions, Provenance("mine", ""))
    align(model, [given], "amber99sbildn.xml,amber99_obc.xml", tmp_path, run, device="cpu", say=said.append)
    assert any(line.startswith("3 of 11 conformations of 'ACE-ALA-NME' are left out") for line in said)


def test_a_density_of_another_level_is_refused(tmp_path):
    model, _ = alignment_model("boltzmann", "boltzmann-ala2")
    with pytest.raises(ConfGFError, match=r"samples amber99sbildn.xml,amber99_obc.xml, and its weights would not be those of mmff94s"):
        align(model, [peptide(["ACE", "ALA", "NME"])], "mmff94s", tmp_path, RUN, device="cpu")
    assert not any(tmp_path.iterdir())


def test_samples_of_a_density_are_distilled(tmp_path):
    model, temperature = alignment_model("boltzmann", "boltzmann-ala2")
    graph, level = peptide(["ACE", "ALA", "NME"]), "amber99sbildn.xml,amber99_obc.xml"
    run = AlignmentRun("distillation", 16, minimised=False, samples=32, molecules=1, steps=2, round_steps=1, temperature=temperature)
    result = align(model, [graph], level, tmp_path, run, compare=0, device="cpu")
    assert len(result.rows) == 2 and load_weights(result.weights)[1].name == "boltzmann-ala2-distillation"
    with np.load(tmp_path / "pools" / "0.npz") as kept:
        assert kept["model_energies"].shape == kept["energies"].shape
    drawn = Ensemble(graph, np.zeros((2, len(graph), 3)), Provenance("mine", ""))
    for molecules, other in (([drawn], run), ([graph], dataclasses.replace(run, minimised=True))):
        with pytest.raises(ConfGFError, match="let the model draw them, raw"):
            align(model, molecules, level, tmp_path, other, device="cpu")


@pytest.mark.parametrize("loss", ["log-variance", "distillation"])
def test_some_losses_ask_for_a_density(graphs, tmp_path, loss):
    with pytest.raises(ConfGFError, match=f"{loss} needs an exact density"):
        align(create_generator("confgf-noise"), graphs, "mmff94s", tmp_path, dataclasses.replace(RUN, loss=loss))


def test_what_cannot_be_aligned_is_said():
    with pytest.raises(ConfGFError, match="'etkdg' cannot be aligned"):
        alignment_model("etkdg")


def test_nothing_to_learn_from_is_said(tmp_path):
    with pytest.raises(ConfGFError, match="None of the 1 molecules can be learnt from; first: All"):
        align(create_generator("confgf-noise"), [MolecularGraph.from_smiles("C")], "mmff94s", tmp_path, RUN, device="cpu")

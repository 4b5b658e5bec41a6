import json

import numpy as np
import pytest
import torch

from openmm_confgf.checksums import sha256_of
from openmm_confgf.errors import ConfGFError, FileFormatError, PlatformError, WeightsError
from openmm_confgf.files import write_ensembles
from openmm_confgf.generators import ConfGFGenerator, ETKDGGenerator
from openmm_confgf.models.weights import load_weights, save_weights
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.training import recipe, rounds
from openmm_confgf.training.config import RunConfig
from openmm_confgf.training.data import read_training_file
from openmm_confgf.training.objectives.denoising import Denoising, denoising_loss
from openmm_confgf.training.recipe import train
from tests.training.conftest import SMILES, write_archive


@pytest.fixture(autouse=True)
def short_validation(monkeypatch):
    monkeypatch.setattr(recipe, "VALIDATION_STEPS", 6)


@pytest.fixture(scope="module")
def stretched(tmp_path_factory):
    """Six conformers of one molecule whose bonds are all 4 % too long: not what the shipped weights know."""
    ensemble = ETKDGGenerator().sample("OCCCO", 6)
    return write_archive(tmp_path_factory.mktemp("data") / "stretched.npz", [ensemble.replace(positions=1.04 * ensemble.positions)])


def tensors(path):
    return load_weights(path)[0].state_dict()


def logged(directory):
    """The rows of a log without what differs between two runs."""
    rows = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in ("time", "seconds")} for row in rows]


def quietly(files, directory, run, **options):
    return train(files, directory, run, progress=False, device="cpu", **options)


@pytest.mark.parametrize("parent", [False, True], ids=["from scratch", "fine-tuned"])
@pytest.mark.parametrize("preset", ["confgf", "confgf-paper"])
def test_stopped_and_resumed_run_gives_the_same_weights_bit_for_bit(archive, tmp_path, preset, parent):
    run = RunConfig(preset, steps=6, round_steps=2, pair_budget=400, patience=2 if parent else 0, learning_rate=1e-2)
    start = {"parent": preset} if parent else {}
    whole = quietly([archive], tmp_path / "whole", run, **start)
    interrupted = tmp_path / "halves"

    class Stopped(Exception):
        pass

    def stop_after_first_round(self, trainer, module):
        if trainer.current_epoch == 1:
            raise Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounds.RoundLog, "on_train_epoch_start", stop_after_first_round)
        with pytest.raises(Stopped):
            quietly([archive], interrupted, run, **start)
    torch.rand(7)  # whatever happened to the global generator in between must not matter
    resumed = tensors(quietly([archive], interrupted, run, **start))
    again = tensors(quietly([archive], interrupted, run, **start))  # a finished run has nothing to do
    expected = tensors(whole)
    assert all(torch.equal(expected[k], resumed[k]) and torch.equal(resumed[k], again[k]) for k in expected)
    assert logged(interrupted) == logged(tmp_path / "whole")
    assert [row["step"] for row in logged(interrupted)][parent:] in ([2, 4, 6], [2, 4])
    a, b = (load_weights(d / f"{preset}.safetensors")[1].training for d in (interrupted, tmp_path / "whole"))
    assert [a[key] for key in ("chosen_step", "steps_made", "stopped_early", "curve")] == [
        b[key] for key in ("chosen_step", "steps_made", "stopped_early", "curve")
    ]


def test_training_lowers_the_loss(archive, tmp_path):
    quietly([archive], tmp_path, RunConfig(steps=40, round_steps=20, pair_budget=600))
    losses = [row["loss"] for row in logged(tmp_path)]
    assert losses[-1] < 0.5 * losses[0]


def test_fine_tuning_on_one_molecule_denoises_it_better_than_the_parent(stretched, tmp_path):
    said = []
    run = RunConfig(steps=40, round_steps=20, pair_budget=600, learning_rate=1e-3, patience=5)
    weights = quietly([stretched], tmp_path, run, parent="confgf", say=said.append)
    assert "one molecule only" in said[0]
    molecule = read_training_file(stretched).molecules[0]
    batch = Denoising(draws=200, wide_share=0.0).batch([molecule], np.random.default_rng(123))
    before, after = (_loss(load_weights(w)[0], batch) for w in ("confgf", weights))
    assert after < 0.8 * before
    training = load_weights(weights)[1].training
    assert training["validation_molecules"] == 0 and training["chosen_step"] == 40
    assert training["curve"]["step"] == [0, 20, 40] and training["curve"]["loss"][0] is None
    assert training["validation"]["val_loss"] == min(training["curve"]["val_loss"]) < 0.8 * training["curve"]["val_loss"][0]


def _loss(net, batch):
    with torch.no_grad():
        return denoising_loss(net(net.encode(batch.graph), batch.noisy, batch.sigma, batch.hands), batch).mean().item()


@pytest.mark.parametrize("preset", ["confgf", "confgf-paper"])
def test_without_improvement_the_parent_is_kept_and_the_run_stops(archive, tmp_path, preset):
    run = RunConfig(preset, steps=40, round_steps=1, pair_budget=400, learning_rate=10.0, patience=2)
    weights = quietly([archive], tmp_path, run, parent=preset)
    card, parent = load_weights(weights)[1], load_weights(preset)[1]
    assert card.sha256 == parent.sha256
    assert card.training["chosen_step"] == 0 and card.training["steps_made"] == 2 and card.training["stopped_early"]
    assert (card.min_atoms, card.elements) == (parent.min_atoms, parent.elements)


def test_card_of_fine_tuned_weights_is_a_union_and_names_its_parent(tmp_path):
    """Selenium is unknown to the shipped weights."""
    ensembles = [ETKDGGenerator().sample(s, 2) for s in ("C[SeH]", "CC[Se]C", "C[Se]CO")]
    write_ensembles(ensembles, tmp_path / "selenides.sdf")
    run = RunConfig(steps=20, round_steps=10, pair_budget=400, learning_rate=1e-3, patience=3)
    weights = quietly([tmp_path / "selenides.sdf"], tmp_path / "run", run, parent="confgf")
    card, parent = load_weights(weights)[1], load_weights("confgf")[1]
    assert card.training["chosen_step"] > 0
    assert set(card.elements) == {*parent.elements, 34} and (card.min_atoms, card.max_atoms) == (min(6, parent.min_atoms), parent.max_atoms)
    assert set(parent.trained_on) < set(card.trained_on) and len(card.trained_on) == len(parent.trained_on) + 3
    assert card.parent == {"name": "confgf", "sha256": parent.sha256, "data": parent.data, "parent": parent.parent}
    assert card.data[0]["sha256"] == sha256_of(tmp_path / "selenides.sdf") and card.data[0]["conformers"] == 6
    generator = ConfGFGenerator(weights)
    assert generator.trained_on(MolecularGraph.from_smiles("C[SeH]"))
    ensemble = generator.sample("C[Se]C", 2)
    assert ensemble.provenance.weights_sha256 == card.sha256 and np.isfinite(ensemble.positions).all()
    once_more = RunConfig(steps=1, round_steps=1, pair_budget=100)
    grandchild = quietly([tmp_path / "selenides.sdf"], tmp_path / "again", once_more, parent=weights)
    assert load_weights(grandchild)[1].parent["parent"]["sha256"] == parent.sha256


def test_card_says_what_was_trained_on_and_held_out_molecules_are_not(archive, tmp_path):
    # the other hand of a training molecule
    held = write_archive(tmp_path / "held.npz", [ETKDGGenerator().sample("C[C@@H](N)C(=O)O", 1)])
    said = []
    run = RunConfig(steps=2, round_steps=1, pair_budget=400)
    weights = quietly([archive, archive], tmp_path / "run", run, held_out=[held], say=said.append)
    _, card = load_weights(weights)
    assert len(card.trained_on) == len(SMILES) - 1
    assert card.data[0]["repeats"] == 2 and card.data[0]["conformers"] == 2 * (len(SMILES) - 1) and len(card.data[0]["sha256"]) == 64
    assert card.data[0]["dropped"] == {"held out": 2} and "2 held out" in said[0]
    assert card.elements == [1, 6, 7, 8] and card.training["steps"] == card.training["steps_made"] == 2
    assert card.training["held_out"] == [{"file": "held.npz", "sha256": sha256_of(held)}]
    assert card.training["seconds"] > 0 and card.training["device"].startswith("CPU") and not card.training["stopped_early"]
    assert card.training["curve"] == {name: [row[name] for row in logged(tmp_path / "run")] for name in ("step", "loss", "val_loss")}
    assert card.training["validation_molecules"] == 2 and card.parent is None


def test_the_log_is_shown_after_every_round(archive, tmp_path):
    seen = []
    run = RunConfig(steps=2, round_steps=1, pair_budget=400, patience=2)
    quietly([archive], tmp_path, run, parent="confgf", after_round=lambda log: seen.append(len(log.read_text().splitlines())))
    assert seen == [1, 2, 3, 3]


def test_another_run_in_the_same_folder_is_refused(archive, stretched, tmp_path):
    run = RunConfig(steps=1, round_steps=1, pair_budget=400)
    quietly([archive], tmp_path, run)
    with pytest.raises(ConfGFError, match="another data"):
        quietly([stretched], tmp_path, run)
    with pytest.raises(ConfGFError, match="another parent"):
        quietly([archive], tmp_path, run, parent="confgf")
    with pytest.raises(ConfGFError, match="another seed"):
        quietly([archive], tmp_path, RunConfig(steps=1, round_steps=1, pair_budget=400, seed=1))
    quietly([archive], tmp_path, RunConfig(steps=2, round_steps=1, pair_budget=400))  # its end may be moved
    (tmp_path / "run.json").unlink()  # as a run of an earlier version has none
    quietly([archive], tmp_path, RunConfig(steps=3, round_steps=1, pair_budget=400))
    assert [row["step"] for row in logged(tmp_path)] == [1, 2, 3]


def test_bad_runs_are_refused_before_work(archive, tmp_path):
    with pytest.raises(PlatformError, match="auto, cpu, cuda"):
        train([archive], tmp_path, RunConfig(), device="tpu")
    with pytest.raises(ConfGFError, match="confgf-paper"):
        train([archive], tmp_path, RunConfig(preset="other"))
    with pytest.raises(ConfGFError, match="no molecule"):
        train([archive], tmp_path, RunConfig(), held_out=[archive])
    (tmp_path / "broken.npz").write_bytes(archive.read_bytes()[:100])
    with pytest.raises(FileFormatError):
        train([tmp_path / "broken.npz"], tmp_path, RunConfig())
    assert [p.name for p in tmp_path.iterdir()] == ["broken.npz"]


def test_bad_parents_are_refused_before_work(archive, tmp_path):
    with pytest.raises(WeightsError, match="preset confgf-paper, not confgf"):
        train([archive], tmp_path / "run", RunConfig(), parent="confgf-paper")
    with pytest.raises(WeightsError, match="one of: "):
        train([archive], tmp_path / "run", RunConfig(), parent=tmp_path / "none.safetensors")
    net, card = load_weights("confgf")
    save_weights(tmp_path / "mine.safetensors", net, card)
    altered = (tmp_path / "mine.safetensors").read_bytes()[:-4] + b"\0\0\0\1"
    (tmp_path / "mine.safetensors").write_bytes(altered)
    with pytest.raises(WeightsError, match="truncated or altered"):
        train([archive], tmp_path / "run", RunConfig(), parent=tmp_path / "mine.safetensors")
    assert not (tmp_path / "run").exists()

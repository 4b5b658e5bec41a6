import json

import numpy as np
import pytest
import torch

from openmm_confgf.errors import ConfGFError, FileFormatError, PlatformError
from openmm_confgf.generators import ETKDGGenerator
from openmm_confgf.models.weights import load_weights
from openmm_confgf.molecule import MolecularGraph
from openmm_confgf.training.data import load_training_molecules, load_training_set, prepare, save_training_set
from openmm_confgf.training.recipe import RunConfig, split_validation, train

SMILES = ["CCO", "CC(=O)N", "C[C@H](N)C(=O)O", "C1CC1O", "CCCN", "OCC#N", "CC=C", "NCCO"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Reference conformers of eight small molecules in the archive layout."""
    path = tmp_path_factory.mktemp("data") / "small.npz"
    ensembles = [ETKDGGenerator().sample(s, 2) for s in SMILES]
    np.savez(
        path,
        smiles=np.array(SMILES),
        n_atoms=np.array([len(e.graph) for e in ensembles]),
        n_conf=np.full(len(SMILES), 2),
        numbers=np.concatenate([e.graph.numbers for e in ensembles]),
        coords=np.concatenate([e.positions.reshape(-1, 3) * 10 for e in ensembles]).astype(np.float32),
    )
    return path


def tensors(path):
    return load_weights(path)[0].state_dict()


@pytest.mark.parametrize("preset", ["confgf", "confgf-paper"])
def test_stopped_and_resumed_run_gives_the_same_weights_bit_for_bit(archive, tmp_path, preset):
    full = RunConfig(preset, steps=4, round_steps=2, pair_budget=400)
    whole = train([archive], tmp_path / "whole", full, progress=False, device="cpu")
    interrupted = tmp_path / "halves"

    class Stopped(Exception):
        pass

    def stop_after_first_round(self, trainer, module):
        if trainer.current_epoch == 1:
            raise Stopped

    from openmm_confgf.training import recipe

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe.RoundLog, "on_train_epoch_start", stop_after_first_round, raising=False)
        with pytest.raises(Stopped):
            train([archive], interrupted, full, progress=False, device="cpu")
    torch.rand(7)  # whatever happened to the global generator in between must not matter
    resumed = train([archive], interrupted, full, progress=False, device="cpu")
    resumed_weights = tensors(resumed)
    again = train([archive], interrupted, full, progress=False, device="cpu")  # a finished run has nothing to do
    a, b, c = tensors(whole), resumed_weights, tensors(again)
    assert all(torch.equal(a[k], b[k]) and torch.equal(b[k], c[k]) for k in a)
    steps = [json.loads(line)["step"] for line in (interrupted / "log.jsonl").read_text().splitlines()]
    assert steps == [2, 4]


def test_training_lowers_the_loss(archive, tmp_path):
    train([archive], tmp_path, RunConfig(steps=60, round_steps=20, pair_budget=600), progress=False, device="cpu")
    losses = [json.loads(line)["loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.5 * losses[0]


def test_card_says_what_was_trained_on_and_held_out_molecules_are_not(archive, tmp_path):
    held = tmp_path / "held.npz"
    graph = MolecularGraph.from_smiles("C[C@@H](N)C(=O)O")  # the other hand of a training molecule
    ensemble = ETKDGGenerator().sample(graph, 1)
    np.savez(
        held, smiles=np.array([graph.smiles]), n_atoms=np.array([len(graph)]), numbers=graph.numbers, coords=ensemble.positions[0] * 10
    )
    weights = train(
        [archive, archive], tmp_path / "run", RunConfig(steps=2, round_steps=2, pair_budget=400), held_out=[held], progress=False
    )
    _, card = load_weights(weights)
    assert len(card.trained_on) == len(SMILES) - 1
    assert card.data[0]["repeats"] == 2 and card.data[0]["conformers"] == 2 * (len(SMILES) - 1) and len(card.data[0]["sha256"]) == 64
    assert card.elements == [1, 6, 7, 8] and card.training["steps"] == 2


def test_training_set_file_is_what_was_prepared(archive, tmp_path):
    from openmm_confgf.archive import load_archive

    prepared = prepare(load_archive(archive))
    save_training_set(tmp_path / "set.npz", prepared)
    for a, b in zip(prepared, load_training_set(tmp_path / "set.npz"), strict=True):
        assert a.fingerprint == b.fingerprint
        np.testing.assert_array_equal(a.positions, b.positions)
        np.testing.assert_array_equal(a.features.pairs, b.features.pairs)
        np.testing.assert_array_equal(a.features.tetrahedra, b.features.tetrahedra)
    assert len(load_training_molecules(tmp_path / "set.npz", {prepared[0].fingerprint})) == len(SMILES) - 1


def test_bad_runs_are_refused_before_work(archive, tmp_path):
    with pytest.raises(ConfGFError, match="multiple"):
        train([archive], tmp_path, RunConfig(steps=5, round_steps=2))
    with pytest.raises(PlatformError, match="auto, cpu or cuda"):
        train([archive], tmp_path, RunConfig(), device="tpu")
    with pytest.raises(ConfGFError, match="confgf-paper"):
        train([archive], tmp_path, RunConfig(preset="other"))
    with pytest.raises(ConfGFError, match="no molecule"):
        train([archive], tmp_path, RunConfig(), held_out=[archive])
    (tmp_path / "broken.npz").write_bytes(archive.read_bytes()[:100])
    with pytest.raises(FileFormatError):
        train([tmp_path / "broken.npz"], tmp_path, RunConfig())


def test_validation_split_goes_by_constitution(archive):
    molecules = load_training_molecules(archive)
    fitted, held = split_validation(molecules, share=2)
    assert {m.fingerprint for m in fitted} & {m.fingerprint for m in held} == set()
    assert len(fitted) + len(held) == len(molecules)

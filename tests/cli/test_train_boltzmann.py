import dataclasses
import functools
import json

import h5py
import mdtraj
import numpy as np
import pytest

from openmm_confgf.checksums import sha256_of
from openmm_confgf.files import write_ensembles
from openmm_confgf.generators.harmonic import HarmonicGenerator
from openmm_confgf.models.autoregressive import AutoregressiveConfig
from openmm_confgf.models.cards import read_card
from openmm_confgf.models.weights import load_weights, save_weights
from openmm_confgf.training.boltzmann import recipe, settings


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Of methanol, nearly of equilibrium, in a format that keeps no names: atoms in the order of the SMILES."""
    folder = tmp_path_factory.mktemp("frames")
    ensemble = HarmonicGenerator("openff-2.2.1", 300.0).sample("CO", 600, seed=0, device="cpu")
    write_ensembles(ensemble, folder / "methanol.h5")
    ensemble.to_mdtraj().save_dcd(str(folder / "methanol.dcd"))
    return folder


@pytest.fixture
def short(monkeypatch):
    """A small network, a small test."""
    sizes = {"width": 24, "static_width": 16, "static_layers": 1, "pair_width": 8, "blocks": 1, "bins": 24}
    monkeypatch.setattr(recipe, "AutoregressiveConfig", functools.partial(AutoregressiveConfig, **sizes))
    monkeypatch.setattr(recipe, "TESTED", 1500)


def test_frames_become_weights_that_generate_and_reweight(run, frames, short, tmp_path):
    folder = tmp_path / "run"
    call = ["train", "boltzmann", "CO", "--trajectory", frames / "methanol.h5", "--rounds", 10, "--device", "cpu", "-o", folder]
    outcome = run(*call, "--json")
    assert outcome.code == 0, outcome.err
    report = outcome.json
    assert report["n"] == 1500 and report["rounds"] == 10 and report["trusted"], report["verdict"]
    assert report["ess_fraction"] > 0.3 and report["k_hat"] < 0.7 and report["verdict"] in outcome.err
    names = {path.name for path in folder.iterdir()}
    assert {"boltzmann.safetensors", "boltzmann.json", "training.png", "weights.png", "samples.h5", "log.jsonl", "last.pt"} <= names
    card = read_card(folder / "boltzmann.json")
    assert str(card.target) == "openff-2.2.1 at 300 K" and card.elements == [1, 6, 8] and (card.min_atoms, card.max_atoms) == (6, 6)
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [row["round"] for row in rows] == list(range(1, 11)) and rows[-1]["mean_log_q"] > rows[4]["mean_log_q"]
    # the same call again has nothing left to do but the test
    again = run(*call, "--json").json
    assert again["ess"] == report["ess"] and again["rounds"] == 10

    samples = tmp_path / "more.h5"
    made = run("generate", "CO", "--generator", "boltzmann", "--weights", report["weights"], "-n", 600, "--device", "cpu", "-o", samples)
    assert made.code == 0, made.err
    assert "not to be trusted" not in made.err
    few = run("generate", "CO", "--generator", "boltzmann", "--weights", report["weights"], "-n", 50, "-o", tmp_path / "few.h5")
    assert few.code == 0 and "CO: the weights of these samples are not to be trusted" in few.err
    weighed = run("reweight", samples, "--json").json
    assert weighed["temperature"] == 300 and weighed["ess_fraction"] > 0.3
    assert weighed["log_z"] == pytest.approx(report["log_z"], abs=6 * np.hypot(weighed["log_z_error"], report["log_z_error"]))
    table = run("benchmark", "boltzmann", "CO", "--weights", report["weights"], "-n", 300, "--seeds", 2, "--device", "cpu", "--json").json
    (row,) = table["rows"]
    assert row["seen"] and len(row["ess"]) == 2 and row["right"] > 0.99 and table["failed"] == []


@pytest.mark.slow
def test_weights_are_tuned_to_another_level(run, frames, short, monkeypatch, tmp_path):
    monkeypatch.setattr(recipe, "FROM_PARENT", 1024)
    fast = {"round_steps": 20, "batch_size": 128, "samples": 512, "tuning_rate": 2e-3}
    monkeypatch.setattr(settings, "AT_A_LEVEL", dataclasses.replace(settings.AT_A_LEVEL, **fast))
    parent, call = tmp_path / "parent" / "boltzmann.safetensors", ["train", "boltzmann", "CO", "--device", "cpu", "--json"]
    before = run(*call, "--trajectory", frames / "methanol.h5", "--rounds", 10, "-o", parent.parent)
    assert before.code == 0, before.err
    outcome = run(*call, "--from", parent, "--level", "mmff94s", "--rounds", 6, "-o", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    card = read_card(tmp_path / "run" / "boltzmann.json")
    assert str(card.target) == "mmff94s at 300 K" and card.target.inputs == "openff-2.2.1" and card.parent["sha256"] == sha256_of(parent)
    assert card.data[0]["generator"] == "the weights to start from" and not (tmp_path / "run" / "md.h5").exists()
    effective = []
    for weights in (parent, outcome.json["weights"]):
        made = [
            "generate",
            "CO",
            "--generator",
            "boltzmann",
            "--weights",
            weights,
            "-n",
            1500,
            "--device",
            "cpu",
            "-o",
            tmp_path / "made.h5",
        ]
        assert run(*made).code == 0
        assert run("score", tmp_path / "made.h5", "--forcefield", "mmff94s", "-o", tmp_path / "scored.h5").code == 0
        effective.append(run("reweight", tmp_path / "scored.h5", "--json").json["ess_fraction"])
    # that of the weights before is withheld where it cannot be trusted
    assert effective[1] == pytest.approx(outcome.json["ess_fraction"], abs=0.15) and effective[1] > 1.5 * (effective[0] or 0.0)


@pytest.mark.parametrize("known", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_weights_that_know_the_molecule_go_on_with_energies(run, frames, short, monkeypatch, tmp_path, known):
    monkeypatch.setattr(recipe, "FROM_PARENT", 1024)
    fast = settings.BoltzmannRun(round_steps=20, batch_size=128, samples=512)
    monkeypatch.setattr(settings, "BoltzmannRun", functools.partial(dataclasses.replace, fast))
    parent, call = tmp_path / "parent" / "boltzmann.safetensors", ["train", "boltzmann", "CO", "--device", "cpu", "--json"]
    given = ["--trajectory", frames / "methanol.h5"]
    assert run(*call, *given, "--rounds", 4, "-o", parent.parent).code == 0
    if not known:  # far too narrow
        network, card = load_weights(parent)
        network.length_head.bias.data.view(3, -1)[2] -= 2
        save_weights(parent, network, card)
    given = [] if known else given
    outcome = run(*call, "--from", parent, *given, "--rounds", 3, "-o", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    card = read_card(tmp_path / "run" / "boltzmann.json")
    first = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[0])
    assert first["energies"] == known and (card.training["frames_share"] == 0) == known
    assert not (tmp_path / "run" / "md.h5").exists()
    assert ("Nothing was simulated" in outcome.json["verdict"]) == known
    assert (card.data[0]["generator"] == "the weights to start from") == known


def test_another_molecule_needs_another_folder(run, frames, short, tmp_path):
    call = ["train", "boltzmann", "CO", "--trajectory", frames / "methanol.h5", "--rounds", 1, "--device", "cpu", "-o", tmp_path / "run"]
    assert run(*call).code == 0
    other = run(*call, "--temperature", 350)
    assert other.code == 2 and "holds a run with another" in other.err and "temperature" in other.err and "give another folder" in other.err


@pytest.mark.slow
def test_from_a_smiles_alone(run, tmp_path):
    outcome = run("train", "boltzmann", "CCO", "--minutes", 0.5, "--device", "cpu", "-o", tmp_path / "run", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["ess_fraction"] > 0.5 and outcome.json["r_hat"] > 0.9
    assert (tmp_path / "run" / "md.h5").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: setattr(t, "unitcell_vectors", np.tile(np.eye(3), (len(t), 1, 1))), "has box vectors"),
        (lambda t: t.xyz.__setitem__((5, 1), np.nan), "1 of 600 frames that are not finite; leave them out"),
        (lambda t: t.xyz.__setitem__(slice(None), t.xyz[:, ::-1]), "are not 'CO' by their bonds; give frames of it"),
    ],
)
def test_frames_that_cannot_teach(run, frames, tmp_path, change, message):
    trajectory = mdtraj.load(str(frames / "methanol.dcd"), top=mdtraj.load(str(frames / "methanol.h5")).topology)
    change(trajectory)
    trajectory.save_dcd(str(tmp_path / "bad.dcd"))
    outcome = run("train", "boltzmann", "CO", "--trajectory", tmp_path / "bad.dcd", "--rounds", 1, "-o", tmp_path / "run")
    assert outcome.code == 2 and message in outcome.err and not (tmp_path / "run" / "last.pt").exists()


def test_frames_of_another_molecule(run, frames, tmp_path):
    for smiles, file in (("CCO", "methanol.h5"), ("CCO", "methanol.dcd")):
        outcome = run("train", "boltzmann", smiles, "--trajectory", frames / file, "--rounds", 1, "-o", tmp_path / "run")
        assert outcome.code == 2, outcome.err
        assert "cannot be read as frames of" in outcome.err or "has other atoms than" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--minutes", 0], "minutes is 0"),
        (["--until-ess", 2], "until_ess is 2"),
        (["--tuning", "magic"], "There is no tuning 'magic'"),
        (["--level", "mmff94s"], "The energies of mmff94s need weights to start from; train some on a force field, and give them"),
        (["--level", "gfn7"], "gfn7"),
        (["--temperature", 0], "above 0 K"),
        (["--from", "confgf"], "are those of a PairField; start from those of a Boltzmann generator"),
        (["--forcefield", "nonsense"], "nonsense"),
    ],
)
def test_bad_calls(run, tmp_path, arguments, message):
    outcome = run("train", "boltzmann", "CO", "-o", tmp_path / "run", *arguments)
    assert outcome.code == 2 and message in outcome.err


def test_molecules_that_cannot_be_placed(run, tmp_path):
    outcome = run("train", "boltzmann", "CC#N", "--rounds", 1, "-o", tmp_path / "run")
    assert outcome.code == 2 and "three atoms in line" in outcome.err


def test_peptides_by_sequence(run, tmp_path):
    for source, name, atoms in (("peptide:GG", "GG", 17), ("peptide:ACE-G-NME", "ACE-G-NME", 19)):
        outcome = run("generate", source, "--generator", "etkdg", "-n", 2, "-o", tmp_path / "two.h5", "--json")
        assert outcome.code == 0, outcome.err
        assert outcome.json["molecules"][0]["name"] == name
        with h5py.File(tmp_path / "two.h5") as file:
            assert file["coordinates"].shape == (2, atoms, 3)
    outcome = run("generate", "peptide:GXZ", "-n", 2, "-o", tmp_path / "two.h5")
    assert outcome.code == 2 and "There is no residue" in outcome.err


def test_force_fields_are_for_generators_that_sample_them(run, tmp_path):
    outcome = run("generate", "CO", "--generator", "etkdg", "--forcefield", "openff-2.2.1", "-n", 2, "-o", tmp_path / "two.sdf")
    assert outcome.code == 2 and "'etkdg' samples no force field; use boltzmann, tbg, or leave the forcefield out" in outcome.err


def test_frames_of_a_format_without_names(run, frames, short, tmp_path):
    call = ["train", "boltzmann", "CO", "--trajectory", frames / "methanol.dcd", "--rounds", 1, "--device", "cpu", "-o", tmp_path / "run"]
    outcome = run(*call, "--json")
    assert outcome.code == 0 and outcome.json["rounds"] == 1, outcome.err
    assert read_card(tmp_path / "run" / "boltzmann.json").data[0]["generator"] == "trajectory methanol.dcd"

import json

import numpy as np
import pytest

from openmm_confgf.files import write_ensembles
from openmm_confgf.generators import create_generator

SMALL = ("-k", 2, "--samples", 4, "--steps", 2, "--round-steps", 1, "--batch", 2, "--draws", 2, "--device", "cpu")


@pytest.fixture(scope="module")
def molecules(tmp_path_factory):
    path = tmp_path_factory.mktemp("molecules") / "mine.smi"
    path.write_text("OCCO glycol\nCCCO propanol\nC methane\nC1CC broken\nNCCO\n")
    return path


def test_molecules_become_aligned_weights(run, molecules, tmp_path):
    folder = tmp_path / "run"
    outcome = run("align", "--molecules", molecules, "--level", "mmff94s", *SMALL, "--compare", 3, "-o", folder, "--json")
    assert outcome.code == 0, outcome.err
    report = outcome.json
    assert report["molecules"] == 4 and list(report["skipped"]) == ["methane"] and report["rounds"] == 2
    assert "left out" in outcome.err and "C1CC" in outcome.err
    assert {"confgf-noise-eba.safetensors", "confgf-noise-eba.json", "alignment.png", "log.jsonl", "comparison.json", "last.pt"} <= {
        path.name for path in folder.iterdir()
    }
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert all({"loss", "val_loss", "effective_winners", "target_entropy", "start_loss"} <= set(row) for row in rows)
    held_out = report["held_out"]["E-W2 from Boltzmann (kJ/mol)"]
    assert held_out["molecules"] == 1 and held_out["before"] > 0

    again = run("align", "--molecules", molecules, "--level", "mmff94s", *SMALL, "--compare", 0, "-o", folder)
    assert again.code == 0 and f"wrote {report['weights']}" in again.err
    generated = run("generate", "CCO", "--generator", "confgf-noise", "--weights", report["weights"], "-n", 2, "-o", tmp_path / "a.sdf")
    assert generated.code == 0, generated.err


def test_conformers_of_a_file_teach(run, tmp_path):
    drawn = [create_generator("etkdg").sample(smiles, 6, seed=0) for smiles in ("OCCO", "NCCO")]
    write_ensembles(drawn, tmp_path / "mine.sdf")
    options = ("--level", "mmff94s", "--off-policy", *SMALL, "--loss", "dpo", "--compare", 0, "-o", tmp_path / "run", "--json")
    outcome = run("align", "--molecules", tmp_path / "mine.sdf", *options)
    assert outcome.code == 0 and outcome.json["loss"] == "dpo", outcome.err
    kept = np.load(tmp_path / "run" / "pools" / "0.npz")
    assert len(kept["energies"]) <= 6 and np.isfinite(kept["energies"]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--generator", "etkdg"), "cannot be aligned; use one of confgf-noise, tbg, boltzmann"),
        (("--loss", "ppo"), "no loss 'ppo'"),
        (("--level", "no-such-field"), "no-such-field"),
        (("--off-policy",), "has no conformers to learn from; leave out --off-policy"),
        (("--loss", "log-variance"), "needs an exact density"),
    ],
)
def test_bad_calls_end_in_one_sentence(run, molecules, tmp_path, options, message):
    outcome = run("align", "--molecules", molecules, *SMALL, *options, "-o", tmp_path / "run")
    assert outcome.code == 2 and message in outcome.err and "Traceback" not in outcome.err
    assert not (tmp_path / "run" / "last.pt").exists()

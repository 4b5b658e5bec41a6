import collections

import numpy as np
import pytest
from rdkit import Chem

import openmm_confgf.library.jobs
from openmm_confgf.errors import GenerationError, UnsupportedMoleculeError
from openmm_confgf.files import read_ensembles, write_ensembles
from openmm_confgf.generators import ETKDGGenerator
from openmm_confgf.status import Status


def test_a_smiles_becomes_an_sdf_with_the_right_stereo(run, tmp_path):
    path = tmp_path / "out.sdf"
    outcome = run("generate", "C[C@H](O)CC", "-n", 5, "--generator", "etkdg", "-o", path, "--json")
    assert outcome.code == 0
    report = outcome.json
    assert report["command"] == "generate" and report["generator"] == "etkdg" and report["seed"] == 0
    assert report["molecules"][0]["smiles"] == "CC[C@H](C)O" and report["molecules"][0]["conformations"] == 5
    assert report["molecules"][0]["status"] == {"OK": 5}
    assert report["files"] == [str(path)] and report["failed"] == [] and report["interrupted"] is False
    mols = list(Chem.SDMolSupplier(str(path), removeHs=False))
    assert len(mols) == 5
    for mol in mols:
        Chem.AssignStereochemistryFrom3D(mol)
        assert Chem.MolToSmiles(Chem.RemoveHs(mol)) == "CC[C@H](C)O"


def test_relaxed_conformers_say_so_and_carry_the_energies_of_the_force_field(run, tmp_path):
    path = tmp_path / "out.h5"
    arguments = ["generate", "CCCO", "-n", 2, "--generator", "etkdg", "-o", path, "--json"]
    plain = run(*arguments)
    assert plain.code == 0 and read_ensembles(path)[0].energy is None
    assert plain.json["molecules"][0]["target"] is None and plain.json["molecules"][0]["diagnostics"] == {"ways": {"etkdg": 2}}
    outcome = run(*arguments, "--relax", "mmff94s")
    assert outcome.code == 0 and outcome.json["generator"] == "etkdg+mmff94s"
    assert outcome.json["molecules"][0]["provenance"]["settings"]["relaxation"]["forcefield"] == "MMFF94s"
    assert outcome.json["molecules"][0]["target"] == {"forcefield": "MMFF94s", "system_sha256": None, "temperature": None}
    (relaxed,) = read_ensembles(path)
    assert relaxed.provenance.generator == "etkdg+mmff94s" and relaxed.energy is not None
    outcome = run(*arguments, "--relax", "openff-2.2.1", "--platform", "CPU", "--property", "Threads=1")
    assert outcome.json["molecules"][0]["provenance"]["settings"]["relaxation"]["platform"] == "CPU"


def test_a_molecule_that_cannot_be_relaxed_costs_one_molecule(run, tmp_path):
    (tmp_path / "in.smi").write_text("CCO\nCB(O)O boronic\n")
    outcome = run("generate", tmp_path / "in.smi", "-n", 1, "--generator", "etkdg", "--relax", "mmff94s", "-o", tmp_path / "out.sdf")
    assert outcome.code == 1 and "failed: molecule 2 (boronic): MMFF94s has no parameters" in outcome.err


def test_the_seed_decides(run, tmp_path):
    positions = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        path = tmp_path / f"{name}.h5"
        assert run("generate", "CCCO", "-n", 2, "--generator", "etkdg", "--seed", seed, "-o", path).code == 0
        positions.append(read_ensembles(path)[0].positions)
    assert np.array_equal(positions[0], positions[1]) and not np.allclose(positions[0], positions[2])


def test_without_json_a_table_for_people(run, tmp_path):
    outcome = run("generate", "CCO", "-n", 3, "--generator", "etkdg", "-o", tmp_path / "out.sdf")
    assert "CCO" in outcome.out and "3 OK" in outcome.out
    assert "wrote" in outcome.err and "out.sdf" in outcome.err


def test_bad_molecules_of_a_batch_are_named_and_the_others_come_out(run, tmp_path):
    (tmp_path / "in.smi").write_text("CCO ethanol\nC1CC broken\n[Na+].[Cl-] salt\nCC(N)=O acetamide\n")
    outcome = run("generate", tmp_path / "in.smi", "-n", 2, "--generator", "etkdg", "-o", tmp_path / "out.sdf", "--json")
    assert outcome.code == 1
    assert [m["index"] for m in outcome.json["molecules"]] == [0, 3]
    assert [(f["index"], f["name"]) for f in outcome.json["failed"]] == [(1, "broken"), (2, "salt")]
    assert "failed: molecule 2 (broken)" in outcome.err and "2 of 4 molecules finished, 2 failed" in outcome.err
    assert [len(e) for e in read_ensembles(tmp_path / "out.sdf")] == [2, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["CCO", "-n", "0"], "at least 1"),
        (["CCO", "-n", "-3"], "at least 1"),
        (["CCO", "--seed", "-1"], "at least 0"),
        (["CC(C", "-n", "2"], "cannot be parsed"),
        (["[Na+].[Cl-]"], "2 fragments"),
        (["C[CH2]"], "radical"),
        (["missing.sdf"], "missing.sdf"),
        (["CCO", "--generator", "magic"], "magic"),
        (["CCO", "--relax", "magic"], "magic"),
        (["CCO", "--relax", "mmff94s", "--platform", "magic"], "magic"),
        (["CB(O)O", "--relax", "mmff94s"], "take mmff (UFF then)"),
        (["CCO", "-o", "file/out.sdf"], "file"),
        (["CCO", "-o", "out.docx"], ".docx"),
    ],
)
def test_bad_calls_give_one_line_and_exit_code_2(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    defaults = [] if "--generator" in arguments else ["--generator", "etkdg"]
    outcome = run("generate", *arguments, *defaults)
    assert outcome.code == 2 and outcome.out == ""
    assert outcome.err.startswith("error: ") and outcome.err.count("\n") == 1 and message in outcome.err
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_the_output_is_checked_before_the_work(run, tmp_path, monkeypatch):
    def never(name, weights=None):
        raise AssertionError("work began")

    monkeypatch.setattr(openmm_confgf.library.jobs, "create_generator", never)
    (tmp_path / "file").write_text("")
    assert run("generate", "CCO", "-o", tmp_path / "file" / "out.sdf").code == 2


def test_an_empty_file_is_refused(run, tmp_path):
    (tmp_path / "empty.smi").write_text("")
    outcome = run("generate", tmp_path / "empty.smi", "--generator", "etkdg", "-o", tmp_path / "out.sdf")
    assert outcome.code == 2 and "empty.smi" in outcome.err and outcome.err.count("\n") == 1


def test_ctrl_c_keeps_the_molecules_that_are_finished(run, tmp_path, monkeypatch):
    class Interrupted(ETKDGGenerator):
        def sample_many(self, molecules, n, **options):
            stream = super().sample_many(molecules, n, **options)
            yield next(stream)
            raise KeyboardInterrupt

    monkeypatch.setattr(openmm_confgf.library.jobs, "create_generator", lambda *arguments: Interrupted())
    (tmp_path / "in.smi").write_text("CCO\nCCN\nCCC\n")
    outcome = run("generate", tmp_path / "in.smi", "-n", 2, "-o", tmp_path / "out.sdf", "--json")
    assert outcome.code == 130
    assert outcome.json["interrupted"] is True and len(outcome.json["molecules"]) == 1
    assert [e.graph.smiles for e in read_ensembles(tmp_path / "out.sdf")] == ["CCO"]


@pytest.mark.parametrize(("error", "code"), [(GenerationError("no luck"), 1), (UnsupportedMoleculeError("no boron; take etkdg"), 2)])
def test_a_single_molecule_that_fails_gives_its_own_exit_code(run, tmp_path, monkeypatch, error, code):
    class Failing(ETKDGGenerator):
        def sample_many(self, molecules, n, **options):
            yield 0, error

    monkeypatch.setattr(openmm_confgf.library.jobs, "create_generator", lambda *arguments: Failing())
    outcome = run("generate", "CCO", "-o", tmp_path / "out.sdf")
    assert outcome.code == code and outcome.err == f"error: {error}\n" and not (tmp_path / "out.sdf").exists()


def test_a_molecule_without_any_usable_conformer_has_failed(run, tmp_path, monkeypatch):
    class Clashing(ETKDGGenerator):
        def sample_many(self, molecules, n, **options):
            for index, ensemble in super().sample_many(molecules, n, **options):
                yield index, ensemble.replace(status=np.full(n, Status.CLASH, np.int8)) if index == 0 else ensemble

    monkeypatch.setattr(openmm_confgf.library.jobs, "create_generator", lambda *arguments: Clashing())
    (tmp_path / "in.smi").write_text("CCO\nCCN\n")
    outcome = run("generate", tmp_path / "in.smi", "-n", 2, "-o", tmp_path / "out.sdf", "--json")
    assert outcome.code == 1 and outcome.json["failed"][0]["error"].startswith("no conformation of 'CCO' is usable (2 CLASH); try")
    assert [e.graph.smiles for e in read_ensembles(tmp_path / "out.sdf")] == ["CCN"]
    assert run("generate", "CCO", "-n", 2, "-o", tmp_path / "none.sdf").code == 1 and not (tmp_path / "none.sdf").exists()


def test_stereo_that_is_left_open_is_said_and_written(run, tmp_path):
    path = tmp_path / "out.sdf"
    outcome = run("generate", "CC(O)C=CC", "-n", 8, "--generator", "etkdg", "-o", path)
    assert outcome.code == 0 and "1 centre and 1 double bond" in outcome.out and "unspecified" in outcome.out
    report = run("generate", "CC(O)C=CC", "-n", 8, "--generator", "etkdg", "-o", path, "--json").json["molecules"][0]
    assert report["provenance"]["settings"]["unspecified_stereo"] == {"centres": 1, "double_bonds": 1}
    written = collections.Counter()
    for mol in Chem.SDMolSupplier(str(path), removeHs=False):
        for bond in mol.GetBonds():  # "either" in the record, since it is open
            bond.SetStereo(Chem.BondStereo.STEREONONE)
            bond.SetBondDir(Chem.BondDir.NONE)
        Chem.AssignStereochemistryFrom3D(mol)
        assert mol.GetProp("openmm_confgf_stereoisomer") == Chem.MolToSmiles(Chem.RemoveHs(mol))
        written[mol.GetProp("openmm_confgf_stereoisomer")] += 1
    assert report["stereoisomers"] == written and len(written) > 1
    assert len(read_ensembles(path)) == 1  # still the molecule that was asked for


def test_each_stereoisomer_on_request(run, tmp_path):
    (tmp_path / "in.smi").write_text("OC(=O)C(O)C(O)C(=O)O tartaric\nCCO ethanol\nFC(Cl)C(Br)C(I)C(O)C(N)C(S)C(C#N)C many\n")
    arguments = ["generate", tmp_path / "in.smi", "-n", 2, "--generator", "etkdg", "-o", tmp_path / "out.sdf", "--enumerate-stereo"]
    outcome = run(*arguments, "--json")
    assert outcome.code == 1 and "more than 64 stereoisomers" in outcome.json["failed"][0]["error"]
    assert {m["name"] for m in outcome.json["molecules"]} == {"tartaric-4R-6R", "tartaric-4S-6S", "tartaric-4R-6S", "ethanol"}
    ensembles = read_ensembles(tmp_path / "out.sdf")
    assert [e.graph.smiles for e in ensembles] == [m["smiles"] for m in outcome.json["molecules"]]
    assert all(e.ok.all() and len(e) == 2 for e in ensembles)


def test_a_device_that_is_none_is_one_line(run, tmp_path):
    outcome = run("generate", "CCO", "--device", "tpu", "--generator", "etkdg", "-o", tmp_path / "out.sdf")
    assert (
        outcome.code == 2
        and outcome.err == "error: --device 'tpu' is unknown; give auto, cpu, cuda, or cuda:1 for the second CUDA device.\n"
    )


def test_what_is_done_to_molecules_on_reading_is_said_once(run, tmp_path):
    flat = Chem.MolToMolBlock(Chem.MolFromSmiles("CCO")) + "$$$$\n"
    (tmp_path / "flat.sdf").write_text(f"first{flat}second{flat}")
    outcome = run("generate", tmp_path / "flat.sdf", "-n", 1, "--generator", "etkdg", "-o", tmp_path / "out.sdf")
    assert outcome.code == 0 and outcome.err.count("hydrogens were added") == 1
    assert "first and 1 more: explicit hydrogens were added" in outcome.err
    arguments = ["generate", "CC(=O)[O-].[Na+]", "-n", 1, "--generator", "etkdg", "-o", tmp_path / "salt.sdf"]
    assert run(*arguments).code == 2
    outcome = run(*arguments, "--largest-fragment")
    assert outcome.code == 0 and "only the largest fragment was kept" in outcome.err
    assert read_ensembles(tmp_path / "salt.sdf")[0].graph.smiles == "CC(=O)[O-]"


def test_conformers_of_a_scored_file_have_no_energies_of_it(run, tmp_path):
    scored = ETKDGGenerator().sample("CCCO", 2).replace(energy=np.array([1.0, 2.0]), properties=[{"_Name": "a", "assay": "7"}] * 2)
    (path,) = write_ensembles(scored, tmp_path / "scored.sdf")
    assert run("generate", path, "-n", 2, "--generator", "etkdg", "--seed", 5, "-o", tmp_path / "new.sdf").code == 0
    (new,) = read_ensembles(tmp_path / "new.sdf")
    assert new.energy is None and new.provenance.seed == 5 and all("assay" not in of_one for of_one in new.properties)

import dataclasses
import functools

import numpy as np
import pytest

from openmm_confgf.ensemble import Ensemble
from openmm_confgf.errors import ConfGFError, MoleculeError
from openmm_confgf.executors import ProcessExecutor
from openmm_confgf.generators import ETKDGGenerator
from openmm_confgf.library import Generation, Scoring
from openmm_confgf.molecules.graph import MolecularGraph

SMILES = ["C[C@H](N)C(=O)O", "C[Te]C", "CCCO", "C/C=C/CO"]


@pytest.fixture(scope="module")
def graphs():
    return [MolecularGraph.from_smiles(smiles) for smiles in SMILES]


@pytest.mark.parametrize("job", [Generation("confgf", count=3, seed=5), Generation("etkdg", relax="mmff94s", count=2)])
def test_processes_give_the_same_conformers_to_the_last_bit(graphs, job):
    alone = dict(job.each(graphs, job.source()))
    shared = dict(job.each(iter(graphs), job.source(), workers=2))
    assert sorted(alone) == sorted(shared) == [0, 1, 2, 3]
    assert isinstance(alone[1], ConfGFError) and type(alone[1]) is type(shared[1]) and str(alone[1]) == str(shared[1])
    for k in (0, 2, 3):
        np.testing.assert_array_equal(alone[k].positions, shared[k].positions)
        assert alone[k].provenance == shared[k].provenance and shared[k].graph.smiles == graphs[k].smiles


def test_processes_give_the_same_energies_to_the_last_bit(toy_level):
    ensembles = [ETKDGGenerator().sample(smiles, 3) for smiles in ("CO", "CCC", "CCO")]
    job = Scoring(toy_level, minimize=True, platform="Reference")
    alone, shared = dict(job.each(ensembles)), dict(job.each(iter(ensembles), functools.partial(ProcessExecutor, workers=2)))
    assert isinstance(alone[1], ConfGFError) and str(alone[1]) == str(shared[1])
    for k in (0, 2):
        assert isinstance(alone[k], Ensemble)
        np.testing.assert_array_equal(alone[k].positions, shared[k].positions)
        np.testing.assert_array_equal(alone[k].energy, shared[k].energy)


def test_bad_calls_are_refused_by_the_call(graphs):
    for workers, count in ((2, 0), (0, 1), (-1, 1)):
        job = Generation("etkdg", count=count)
        with pytest.raises(ConfGFError, match="at least 1"):
            job.each(graphs, job.source(), workers)
    with pytest.raises(ConfGFError, match="openff-99"):
        Scoring("openff-99").each([], 2)


def test_settings_tell_what_decides(toy_level, tmp_path):
    job = Generation("confgf")
    settings = job.settings(job.source())
    assert len(settings["weights"]) == 64 and settings["device"] in ("cpu", "cuda")
    for change in ({"count": 7}, {"seed": 3}, {"relax": "mmff94s"}, {"generator": "etkdg"}):
        other = dataclasses.replace(job, **change)
        assert other.settings(other.source()) != settings
    copy = tmp_path / "copy.xml"
    copy.write_text(open(toy_level).read().replace("2e5", "1e5"))
    told = [Scoring(level).settings() for level in (toy_level, str(copy))]
    assert list(told[0]["forcefield_files"].values()) != list(told[1]["forcefield_files"].values())


def test_workers_elsewhere_tell_what_decides_there(toy_level):
    elsewhere = functools.partial(ProcessExecutor, workers=1, environment={"CUDA_VISIBLE_DEVICES": ""})
    for job, source in ((Generation("confgf", device="cpu", seed=5), (Generation("confgf").source(),)), (Scoring(toy_level), ())):
        assert job.settings(*source, elsewhere) == job.settings(*source)
    with pytest.raises(ConfGFError, match="CUDA device"):
        job = Generation("etkdg", device="cuda:77")
        job.settings(job.source(), elsewhere)


def test_a_molecule_that_the_generator_refuses_is_its_own_error(graphs):
    job = Generation("confgf", count=1)
    assert isinstance(dict(job.each([graphs[1]], job.source()))[0], MoleculeError)

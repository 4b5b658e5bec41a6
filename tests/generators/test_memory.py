import time

import pytest

from openmm_confgf.errors import ConfGFError
from openmm_confgf.generators import ETKDGGenerator, create_generator, memory
from openmm_confgf.molecules.graph import MolecularGraph


@pytest.mark.parametrize(
    "name", ["confgf", "mmff+confgf", "confgf-noise", "confgf+mmff", "confgf-paper", "confgf-dist", "etkdg", "etkdg+mmff"]
)
def test_what_does_not_fit_is_refused_before_work(name):
    generator, begun = create_generator(name), time.perf_counter()
    with pytest.raises(
        ConfGFError, match=r"^100000000000 conformations of 'CCO' would take 173 TB of memory, .* at most \d+ at a time"
    ) as told:
        generator.sample_many([MolecularGraph.from_smiles(s) for s in ("O", "CCO")], 100_000_000_000)
    assert told.value.exit_code == 2 and time.perf_counter() - begun < 1


def test_conforge_refuses_it_too():
    pytest.importorskip("CDPL")
    with pytest.raises(ConfGFError, match="would take 173 TB"):
        create_generator("conforge").sample("CCO", 100_000_000_000)


def test_what_fits_one_molecule_after_the_other_is_taken(monkeypatch):
    molecules = [MolecularGraph.from_smiles("CCO")] * 3
    monkeypatch.setattr(memory, "free_memory", lambda: 4 * 9 * 24 * 8)
    assert [len(ensemble) for _, ensemble in ETKDGGenerator().sample_many(molecules, 4)] == [4, 4, 4]
    with pytest.raises(
        ConfGFError, match="5 conformations of 'CCO' would take 8.64 kB of memory, and 6.91 kB are free; ask for at most 4 at"
    ):
        ETKDGGenerator().sample_many(molecules, [1, 5, 1])


def test_free_memory_is_told_with_and_without_linux(monkeypatch, tmp_path):
    here = memory.free_memory()
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "missing")
    assert 0 < here <= memory.free_memory()
    monkeypatch.delattr("os.sysconf")
    assert memory.free_memory() is None
    memory.check_memory([MolecularGraph.from_smiles("CCO")], [10**15])

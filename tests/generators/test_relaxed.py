import numpy as np
import pytest

from openmm_confgf.energies.relaxation import relax
from openmm_confgf.errors import ConfGFError, ForceFieldError, PlatformError
from openmm_confgf.generators import ETKDGGenerator, RelaxedGenerator, create_generator
from openmm_confgf.molecules.graph import MolecularGraph


class Trained(ETKDGGenerator):
    def calls(self, graph):
        return 12

    def trained_on(self, graph):
        return graph.smiles == "CCO"


def test_it_is_the_source_and_then_relax():
    raw = ETKDGGenerator().sample("C[C@H](O)CN", 3, seed=4)
    for forcefield in ("mmff94s", "openff-2.2.1"):
        generator = RelaxedGenerator(ETKDGGenerator(), forcefield, platform="Reference")
        ensemble, wanted = generator.sample("C[C@H](O)CN", 3, seed=4), relax(raw, forcefield, platform="Reference")
        np.testing.assert_array_equal(ensemble.positions, wanted.positions)
        assert ensemble.provenance == wanted.provenance
        assert ensemble.provenance.generator == generator.name == f"etkdg+{forcefield}"


def test_the_preset_of_etkdg_is_the_same_as_a_relaxed_etkdg():
    preset, relaxed = create_generator("etkdg+mmff"), RelaxedGenerator(ETKDGGenerator(), "mmff")
    assert preset.name == relaxed.name
    np.testing.assert_array_equal(preset.sample("CCCO", 3).positions, relaxed.sample("CCCO", 3).positions)


def test_the_default_generator_has_a_relaxed_preset():
    generator = create_generator("confgf+mmff")
    ensemble = generator.sample("CCCCO", 2, seed=1, device="cpu")
    assert ensemble.provenance.generator == generator.name == "confgf+mmff"
    assert generator.calls(ensemble.graph) == ensemble.provenance.settings["calls"]
    raw = create_generator("confgf").sample("CCCCO", 2, seed=1, device="cpu")
    np.testing.assert_array_equal(ensemble.positions, relax(raw, "mmff").positions)


def test_one_bad_molecule_costs_one_molecule():
    molecules = [MolecularGraph.from_smiles(s) for s in ("CCO", "CB(O)O", "C1#CC1", "CCN")]
    results = dict(RelaxedGenerator(ETKDGGenerator()).sample_many(molecules, 2))
    assert isinstance(results[1], ForceFieldError) and isinstance(results[2], ConfGFError)
    assert results[0].ok.all() and results[3].ok.all()


def test_what_is_known_of_the_source_is_known_of_it():
    generator = RelaxedGenerator(Trained(), "mmff94s")
    assert generator.calls(MolecularGraph.from_smiles("CCO")) == 12
    assert generator.trained_on(MolecularGraph.from_smiles("CCO")) and not generator.trained_on(MolecularGraph.from_smiles("CCN"))


def test_bad_calls_are_refused_before_work_starts():
    with pytest.raises(ForceFieldError, match="nope"):
        RelaxedGenerator(ETKDGGenerator(), "nope")
    with pytest.raises(PlatformError, match="Quantum"):
        RelaxedGenerator(ETKDGGenerator(), "openff-2.2.1", platform="Quantum")
    with pytest.raises(ConfGFError, match="at least 1"):
        RelaxedGenerator(ETKDGGenerator()).sample_many([MolecularGraph.from_smiles("CCO")], 0)

import importlib.util
import subprocess
import sys

import numpy as np
import openmm
import pytest
from openmm import app

from openmm_confgf.energies import ContextEnergy, GFN2Energy, Level, MMFFEnergy, SystemBuilder, level_of, minimize, minimize_gfn2
from openmm_confgf.energies.relaxation import relax
from openmm_confgf.energies.scoring import score
from openmm_confgf.energies.systems.forcefields import WITHOUT_SYSTEM
from openmm_confgf.errors import ConfGFError, ForceFieldError, PlatformError, WrongTypeError
from openmm_confgf.generators import RelaxedGenerator
from openmm_confgf.generators.etkdg import ETKDGGenerator, embed_etkdg
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.status import Status

needs_tblite = pytest.mark.skipif(importlib.util.find_spec("tblite") is None, reason="tblite is not installed")


@pytest.fixture(scope="module")
def ethanol():
    return embed_etkdg(MolecularGraph.from_smiles("CCO", name="ethanol"), 3, 1)


@pytest.fixture(scope="module")
def water():
    """What GFN2-xTB minimises in less than a second."""
    return embed_etkdg(MolecularGraph.from_smiles("O", name="water"), 1, 1)


@pytest.fixture(scope="module")
def builder(toy_level):
    return SystemBuilder(toy_level)


def settled(level, ensemble):
    """Minima of a level, once they are known to be lower than what they come from, at the level's own energies."""
    relaxed = level.minimize(ensemble.graph, ensemble.positions)
    assert (relaxed.status == Status.OK).all()
    energy = level.energy(ensemble.graph)
    before, after = energy.evaluate(ensemble.positions).energy, energy.evaluate(relaxed.positions).energy
    assert (after < before).all()
    np.testing.assert_allclose(relaxed.energy, after, rtol=0, atol=1e-3)
    return relaxed


def test_mmff94s_is_rdkits(ethanol):
    level = Level("mmff94s")
    assert level.name == "mmff94s" and level.minimizer["program"] == "rdkit" and isinstance(level.energy(ethanol.graph), MMFFEnergy)
    level.check_energies()
    relaxed = settled(level, ethanol)
    np.testing.assert_array_equal(relaxed.positions, relax(ethanol, "mmff94s").positions)
    boronic = MolecularGraph.from_smiles("CB(O)O")
    assert Level("mmff").energy(boronic).forcefield == "UFF"
    with pytest.raises(ForceFieldError, match="take mmff"):
        level.minimize(boronic, np.zeros((1, len(boronic), 3)))


@needs_tblite
def test_gfn2_is_xtbs(water):
    level = Level("gfn2")
    level.check_energies()
    assert level.name == "gfn2" and level.minimizer["program"] in ("xtb", "tblite") and isinstance(level.energy("O"), GFN2Energy)
    relaxed = settled(level, water)
    np.testing.assert_allclose(relaxed.energy, minimize_gfn2(water.graph, water.positions).energy, rtol=0, atol=1e-6)


def test_a_force_field_is_openmms_whatever_it_is_given_as(ethanol, toy_level, builder):
    system = builder.build(ethanol.graph)
    with ContextEnergy(system, "Reference") as energy:
        evaluated, wanted = energy.evaluate(ethanol.positions), minimize(energy, ethanol.positions, 0.5)
    given = {toy_level: toy_level, builder: toy_level, builder.build: "SystemBuilder.build", system: "openmm.System"}
    given[app.ForceField(toy_level)] = "openmm.app.ForceField"
    for forcefield, name in given.items():
        level = Level(forcefield, platform="Reference", tolerance=0.5)
        assert level.name == name and level.minimizer == {"program": "openmm", "version": openmm.__version__}
        relaxed = settled(level, ethanol)
        np.testing.assert_array_equal(relaxed.positions, wanted.positions)
        with level.energy(ethanol.graph) as energy:
            assert energy.platform == "Reference"
            np.testing.assert_array_equal(energy.evaluate(ethanol.positions).energy, evaluated.energy)


def test_molecules_are_taken_as_elsewhere(ethanol, toy_level):
    for molecule in ("CCO", ethanol.to_rdkit(), ethanol.graph):
        assert Level(toy_level).energy(molecule).evaluate(ethanol.positions).ok.all()


@pytest.mark.parametrize("name", ["mmff94s", "toy", pytest.param("gfn2", marks=needs_tblite)])
def test_score_and_relax_take_every_level_and_its_name(ethanol, water, toy_level, name):
    name = toy_level if name == "toy" else name
    level, one = Level(name, platform="Reference"), water if name == "gfn2" else ethanol.select([0])
    for scored in (score(one, level), score(one, name, platform="Reference")):
        np.testing.assert_array_equal(scored.energy, level.energy(one.graph).evaluate(one.positions).energy)
        assert scored.target.forcefield == {"mmff94s": "MMFF94s", "gfn2": "GFN2-xTB"}.get(name, name)
        assert scored.provenance.settings["minimized"] is False
        assert (scored.target.system_sha256 is not None) == (name == toy_level)
    relaxed = relax(one, level)
    assert relaxed.provenance.generator == f"etkdg+{name}" == RelaxedGenerator(ETKDGGenerator(), name).name
    assert relaxed.counts() == {"OK": 1} and relaxed.energy < scored.energy
    minima = score(RelaxedGenerator(ETKDGGenerator(), "mmff94s").sample(one.graph, 1, seed=1), level, minimize=True)
    assert minima.provenance.settings["minimized"] is True and abs(minima.energy - relaxed.energy) < 10


def test_a_level_keeps_its_platform(ethanol, toy_level):
    level = Level(toy_level, platform="Reference")
    assert level_of(level) is level
    for call in (relax, score, lambda ensemble, level, **other: RelaxedGenerator(ETKDGGenerator(), level, **other)):
        with pytest.raises(ConfGFError, match="has its platform already; give platform and properties where the Level is made"):
            call(ethanol, level, platform="CPU")
    with pytest.raises(PlatformError, match="Quantum"):
        Level(toy_level, platform="Quantum").energy(ethanol.graph)


@pytest.mark.parametrize(("name", "cure"), [("GFN2", "take gfn2"), ("gfn2-xtb", "take gfn2"), ("MMFF94s", "take mmff94s")])
def test_a_name_that_is_spelt_otherwise(name, cure):
    with pytest.raises(ForceFieldError, match=f"no level of theory '{name}'; {cure}"):
        Level(name)


def test_what_is_no_level(ethanol):
    with pytest.raises(ForceFieldError, match="no force field 'gfn9' here; take for example"):
        Level("gfn9")
    with pytest.raises(WrongTypeError, match="None is not taken for a force field"):
        Level(None)
    with pytest.raises(WrongTypeError, match="ndarray is not taken for a molecule"):
        Level("mmff94s").energy(ethanol.positions)
    for call in (Level("mmff94s").minimize, lambda molecule, positions: Level("mmff94s").energy(molecule).evaluate(positions)):
        with pytest.raises(ValueError, match="8 atoms, but 'ethanol' has 9"):
            call(ethanol.graph, ethanol.positions[:, 1:])


@pytest.mark.parametrize("name", WITHOUT_SYSTEM)
def test_levels_without_a_system_say_so(name):
    assert Level(name).name == name
    with pytest.raises(ForceFieldError, match=f"{name} has energies and minima, but no System of OpenMM; take for example openff-2.2.1"):
        SystemBuilder(name)


WITHOUT_TBLITE = """
import os, sys
sys.modules["tblite"] = None
from openmm_confgf.energies import Level
from openmm_confgf.errors import ForceFieldError
from openmm_confgf.evaluation.above_minimum import EnergyAboveMinimum
def tried(call):
    try:
        call()
    except ForceFieldError as error:
        print(error)
os.environ["PATH"] = ""
tried(lambda: Level("gfn2"))
os.environ["PATH"] = sys.argv[1]
level = Level("gfn2")
tried(level.check_energies)
tried(lambda: level.energy("C"))
tried(lambda: EnergyAboveMinimum("gfn2", []))
print(level._theory.optimizer)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no shell scripts here")
def test_without_tblite_the_program_xtb_still_finds_minima(tmp_path):
    (tmp_path / "xtb").write_text("#!/bin/sh\n")  # what counts is that there is one
    (tmp_path / "xtb").chmod(0o755)
    done = subprocess.run([sys.executable, "-c", WITHOUT_TBLITE, str(tmp_path)], capture_output=True, text=True, timeout=120)
    *errors, optimizer = done.stdout.splitlines()
    assert optimizer == "xtb" and len(errors) == 4 and len(set(errors)) == 1 and "openmm_confgf[reference]" in errors[0], done.stderr

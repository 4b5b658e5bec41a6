import contextlib
import logging
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app, unit
from rdkit import Chem

from openmm_confgf.energies import ContextEnergy, SystemBuilder, create_system
from openmm_confgf.energies.systems.cache import SystemCache
from openmm_confgf.errors import FileFormatError, ForceFieldError
from openmm_confgf.generators.etkdg import ETKDGGenerator
from openmm_confgf.molecules.graph import MolecularGraph


@pytest.fixture(scope="module")
def openff():
    return SystemBuilder("openff-2.2.1")


@pytest.fixture(scope="module")
def ala2(shared_data):
    return app.PDBFile(str(shared_data / "ala2_md" / "ala2.pdb"))


def charges(system):
    force = next(f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
    return np.array([force.getParticleParameters(i)[0].value_in_unit(unit.elementary_charge) for i in range(system.getNumParticles())])


def energies(system, positions):
    with ContextEnergy(system, "Reference") as energy:
        return energy.evaluate(positions).energy


@pytest.mark.parametrize("smiles", ["CCO", "CC(=O)[O-]", "[NH3+]CC(=O)[O-]", "NC(=[NH2+])N", "O=S(=O)([O-])CC[NH+]1CCOCC1", "O"])
def test_net_charge_particles_and_no_constraints(openff, smiles):
    graph = MolecularGraph.from_smiles(smiles)
    system = openff.build(graph)
    assert charges(system).sum() == pytest.approx(graph.total_charge, abs=1e-9)
    assert system.getNumConstraints() == 0
    masses = [system.getParticleMass(i)._value for i in range(system.getNumParticles())]
    elements = [app.Element.getByAtomicNumber(int(z)).mass._value for z in graph.numbers]
    np.testing.assert_allclose(masses, elements, rtol=1e-3)
    nonbonded = next(f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
    assert nonbonded.getNonbondedMethod() == openmm.NonbondedForce.NoCutoff


def test_system_generator_gives_the_same_energies(openff):
    """Independent evaluation, for a molecule whose atoms are told apart by elements and connectivity."""
    from openff.toolkit.utils.nagl_wrapper import NAGLToolkitWrapper
    from openmmforcefields.generators import SystemGenerator

    graph = MolecularGraph.from_smiles("CC(=O)Nc1ccc(O)cc1")
    molecule = graph.to_openff()
    molecule.assign_partial_charges("openff-gnn-am1bcc-1.0.0.pt", toolkit_registry=NAGLToolkitWrapper())
    settings = {"constraints": None, "rigidWater": False}
    generator = SystemGenerator(small_molecule_forcefield="openff-2.2.1", molecules=[molecule], forcefield_kwargs=settings)
    theirs = generator.create_system(graph.to_topology())
    positions = ETKDGGenerator().sample(graph, 3, seed=0).positions
    np.testing.assert_allclose(energies(openff.build(graph), positions), energies(theirs, positions), rtol=0, atol=1e-6)


@pytest.mark.parametrize("smiles", ["CC1=CC=CC=CC=C1", "NC(=[NH2+])NC"])
def test_energy_does_not_depend_on_the_atom_order(openff, smiles):
    """Single and double bonds must not be exchanged where elements and connectivity are symmetric."""
    graph = MolecularGraph.from_smiles(smiles)
    positions = ETKDGGenerator().sample(graph, 2, seed=0).positions
    order = np.random.default_rng(1).permutation(len(graph))
    shuffled = MolecularGraph.from_rdkit(Chem.RenumberAtoms(graph.mol, [int(i) for i in order]))
    original = energies(openff.build(graph), positions)
    np.testing.assert_allclose(energies(openff.build(shuffled), positions[:, order]), original, rtol=0, atol=1e-3)


def test_amber_xml_gives_what_openmm_gives(ala2):
    graph = MolecularGraph.from_topology(ala2.topology, ala2.positions)
    names = ["amber14-all.xml", "implicit/obc2.xml"]
    plain = app.ForceField(*names).createSystem(ala2.topology, nonbondedMethod=app.NoCutoff, constraints=None, rigidWater=False)
    positions = np.array(ala2.positions._value)
    np.testing.assert_allclose(energies(create_system(graph, ",".join(names)), positions), energies(plain, positions), rtol=0, atol=1e-6)


def test_a_cached_system_is_the_same_in_the_same_order_only(ala2, tmp_path):
    builder = SystemBuilder("amber14-all.xml", cache=tmp_path / "systems.sqlite")
    graph = MolecularGraph.from_topology(ala2.topology, ala2.positions)
    made, kept = builder.build(graph), builder.build(graph)
    assert kept is not made
    assert openmm.XmlSerializer.serialize(kept) == openmm.XmlSerializer.serialize(made)
    again = SystemBuilder("amber14-all.xml", cache=tmp_path / "systems.sqlite").build(graph)
    np.testing.assert_array_equal(charges(again), charges(made))
    order = [1, 0, *range(2, 22)]
    swapped = MolecularGraph.from_rdkit(Chem.RenumberAtoms(graph.mol, order))
    np.testing.assert_array_equal(charges(builder.build(swapped)), charges(made)[order])


def test_a_cache_that_is_something_else(tmp_path):
    wrong = tmp_path / "notes.txt"
    wrong.write_text("not a database, but long enough to be read as one" * 50)
    with pytest.raises(FileFormatError, match=r"notes\.txt"):
        SystemBuilder("amber14-all.xml", cache=wrong)
    with pytest.raises(FileFormatError, match="missing"):
        SystemBuilder("amber14-all.xml", cache=tmp_path / "missing" / "cache")


class Makes:
    """Unpickled, it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_in_a_cache_is_run(tmp_path):
    """OpenMM unpickles what a PythonForce calls when it reads one; a cache from elsewhere may hold anything."""
    system, path, told = openmm.System(), tmp_path / "systems.sqlite", tmp_path / "told"
    system.addForce(openmm.PythonForce(Makes(told), {}))
    forged = openmm.XmlSerializer.serialize(system)
    cache = SystemCache(path)
    cache.put("key", openmm.System())
    assert cache.get("key").getNumForces() == 0
    cache.put("key", system)
    with pytest.raises(FileFormatError, match=r"systems\.sqlite holds a System with a PythonForce, which no force field makes"):
        cache.get("key")
    assert not told.exists()
    with contextlib.suppress(Exception):  # what is made is no function
        openmm.XmlSerializer.deserialize(forged)
    assert told.exists()


@pytest.mark.parametrize("name", ["openff-9.9.9", "nope", "gaff-9", "weights.pt", "", "espaloma-0.3.2"])
def test_unknown_force_fields_name_some_that_exist(name):
    with pytest.raises(ForceFieldError, match=r"openff-2\.2\.1.*gaff-2\.2\.20.*amber14-all\.xml"):
        SystemBuilder(name)


def test_unknown_xml_file_is_named():
    with pytest.raises(ForceFieldError, match=r"no-such\.xml"):
        SystemBuilder("amber14-all.xml,no-such.xml")


@pytest.mark.skipif(shutil.which("antechamber") is not None, reason="AmberTools is installed")
def test_gaff_without_ambertools_names_the_extra():
    with pytest.raises(ForceFieldError, match=r"openmm_confgf\[ambertools\].*conda"):
        SystemBuilder("gaff-2.2.20")


@pytest.mark.skipif(shutil.which("antechamber") is None, reason="needs AmberTools")
def test_gaff():
    graph = MolecularGraph.from_smiles("CC(=O)[O-]")
    system = create_system(graph, "gaff-2.2.20")
    assert charges(system).sum() == pytest.approx(-1, abs=1e-6) and system.getNumConstraints() == 0


@pytest.mark.parametrize("smiles", ["C[Si](C)(C)C", "OB(O)c1ccccc1"])
def test_molecules_that_cannot_be_typed(openff, smiles):
    with pytest.raises(ForceFieldError) as caught:
        openff.build(MolecularGraph.from_smiles(smiles))
    message = str(caught.value)
    assert smiles in message and "System of your own" in message and "\n" not in message


def test_ligand_in_a_peptide_force_field():
    with pytest.raises(ForceFieldError, match=r"amber14-all\.xml cannot type 'c1ccccc1'.*openff-2\.2\.1"):
        create_system(MolecularGraph.from_smiles("c1ccccc1"), "amber14-all.xml")


@pytest.mark.slow
def test_nothing_is_printed_and_loggers_are_left_alone():
    # openff.nagl asks git for its version in the repository around site-packages, and git complains where that has no commit
    environment = os.environ | {"GIT_CEILING_DIRECTORIES": str(Path(sysconfig.get_path("purelib")).parent)}
    script = (
        "import logging; from openmm_confgf.energies import create_system; from openmm_confgf.molecules.graph import MolecularGraph\n"
        "create_system(MolecularGraph.from_smiles('CO'))\n"
        "assert logging.getLogger('openff').level == logging.NOTSET"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert finished.stdout == finished.stderr == ""
    assert logging.getLogger("openff").level == logging.NOTSET

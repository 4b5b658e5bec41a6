import contextlib
import itertools
import shutil
import subprocess
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def shared_data():
    """Folder of reference data beside the checkout; tests that need it are skipped where it is missing."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no reference data in {folder}")
    return folder


@pytest.fixture(scope="session")
def shared_cases():
    """Folder of small inputs that must come out right, beside the checkout; tests that need it are skipped where it is missing."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "cases"
    if not folder.is_dir():
        pytest.skip(f"no cases in {folder}")
    return folder


@contextlib.contextmanager
def _mounted(tmp_path_factory, options):
    folder = tmp_path_factory.mktemp("disk")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="session")
def _small_disk(tmp_path_factory):
    """A file system of 64 kB."""
    with _mounted(tmp_path_factory, "size=64k") as folder:
        yield folder


@pytest.fixture(scope="session")
def read_only_disk(tmp_path_factory):
    """An empty file system that cannot be written to."""
    with _mounted(tmp_path_factory, "ro") as folder:
        yield folder


@pytest.fixture
def tiny_disk(_small_disk):
    """An empty file system of 64 kB."""
    yield _small_disk
    for left in _small_disk.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()


@pytest.fixture(scope="session")
def alanine():
    """L-alanine, neutral: one stereocentre, 13 atoms."""
    from openmm_confgf.molecules.graph import MolecularGraph

    return MolecularGraph.from_smiles("C[C@H](N)C(=O)O", name="alanine")


@pytest.fixture(scope="session")
def alanine_ensemble(alanine):
    """Eight ETKDG conformations of alanine; sample 2 is NaN and sample 5 has no energy, the others have."""
    import numpy as np

    from openmm_confgf.generators.etkdg import embed_etkdg

    ensemble = embed_etkdg(alanine, 8, 4)
    positions = ensemble.positions.copy()
    positions[2] = np.nan
    energy = np.array([5.0, 1.0, 0.0, 3.0, 2.0, np.nan, 4.0, -6.5])
    return ensemble.replace(positions=positions, energy=energy, log_q=np.arange(8.0))


@pytest.fixture(scope="session")
def as_of_layout_1():
    """Make an .h5 file what the version before `Target` would have written: all that is told in the settings, energies of OK rows only."""
    return _as_of_layout_1


def _as_of_layout_1(path):
    import json

    import h5py
    import numpy as np

    from openmm_confgf.files import hdf5

    with h5py.File(path, "a") as file:
        group = file["openmm_confgf"]
        provenance = json.loads(group["provenance"][()])
        target = json.loads(group["target"][()]) if "target" in group else {}
        told = {name: target[name] for name in ("forcefield", "system_sha256") if name in target} | json.loads(group["diagnostics"][()])
        provenance["settings"] |= told
        for name in ("target", "diagnostics", "provenance"):
            if name in group:
                del group[name]
        group["provenance"] = json.dumps(provenance)
        if "energy" in group:
            group["energy"][:] = np.where(group["status"][()] == 0, group["energy"][()], np.inf)
        group.attrs["layout"] = 1
        group.attrs["sha256"] = hdf5._digest(hdf5._content(group))


@pytest.fixture(scope="session")
def toy_level(tmp_path_factory):
    """A force field of springs and angles for methanol and ethanol, as OpenMM's XML: ready at once, where a real one loads for seconds."""
    from openmm_confgf.molecules.graph import MolecularGraph

    lengths = {"CC": 0.15, "CO": 0.14, "CH": 0.11, "HO": 0.096}
    residues = []
    for name, smiles in (("MEOH", "CO"), ("ETOH", "CCO")):
        mol = MolecularGraph.from_smiles(smiles).mol
        atoms = [f'<Atom name="A{a.GetIdx()}" type="{a.GetSymbol()}"/>' for a in mol.GetAtoms()]
        bonds = [f'<Bond atomName1="A{b.GetBeginAtomIdx()}" atomName2="A{b.GetEndAtomIdx()}"/>' for b in mol.GetBonds()]
        residues.append(f'<Residue name="{name}">{"".join(atoms + bonds)}</Residue>')
    masses = {"C": 12, "H": 1, "O": 16}
    types = [f'<Type name="{e}" class="{e}" element="{e}" mass="{mass}"/>' for e, mass in masses.items()]
    springs = [f'<Bond class1="{a}" class2="{b}" length="{length}" k="2e5"/>' for (a, b), length in lengths.items()]
    angles = [f'<Angle class1="{a}" class2="{b}" class3="{c}" angle="1.91" k="400"/>' for a, b, c in itertools.product("CHO", repeat=3)]
    forces = f"<HarmonicBondForce>{''.join(springs)}</HarmonicBondForce><HarmonicAngleForce>{''.join(angles)}</HarmonicAngleForce>"
    path = tmp_path_factory.mktemp("level") / "toy.xml"
    text = f"<AtomTypes>{''.join(types)}</AtomTypes><Residues>{''.join(residues)}</Residues>{forces}"
    path.write_text(f"<ForceField>{text}</ForceField>")
    return str(path)


@pytest.fixture(scope="session")
def peroxide():
    """A System of H2O2 for "OO": springs, and 5 (1 + cos 2t) + 4 (1 + cos t) kJ/mol of its torsion, atoms 2-0-1-3."""
    import openmm

    system = openmm.System()
    for mass in (16.0, 16.0, 1.008, 1.008):
        system.addParticle(mass)
    lengths, bends, turns = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce(), openmm.PeriodicTorsionForce()
    for bond in ((0, 1, 0.145, 2.5e5), (0, 2, 0.097, 4e5), (1, 3, 0.097, 4e5)):
        lengths.addBond(*bond)
    for angle in ((2, 0, 1, 1.75, 600), (3, 1, 0, 1.75, 600)):
        bends.addAngle(*angle)
    for wave in ((2, 0, 5), (1, 0, 4)):
        turns.addTorsion(2, 0, 1, 3, *wave)
    for force in (lengths, bends, turns):
        system.addForce(force)
    return system


@pytest.fixture(scope="session")
def peroxide_samples(peroxide):
    """4000 samples of the harmonic density of peroxide at 300 K with their energies, worth about 3600."""
    from openmm_confgf.energies.scoring import score
    from openmm_confgf.generators import HarmonicGenerator

    return score(HarmonicGenerator(peroxide).sample("OO", 4000, seed=3), peroxide, platform="Reference")


@pytest.fixture
def torch_cores():
    """Sets how many cores torch has in the test's thread, until the test ends."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)

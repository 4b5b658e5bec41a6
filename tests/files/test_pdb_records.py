import io

import numpy as np
import pytest
from openmm import app
from rdkit import Chem, RDLogger
from rdkit.Chem import rdDistGeom

from openmm_confgf.energies.systems.forcefields import SystemBuilder
from openmm_confgf.ensemble import Ensemble, Provenance
from openmm_confgf.errors import FileFormatError, MoleculeError
from openmm_confgf.files.ensembles import read_ensembles, write_ensembles
from openmm_confgf.files.pdb import read_pdb, write_pdb
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.graph import MolecularGraph

METHANOL = {"C": (0.0, 0.0, 0.0), "O": (1.41, 0.0, 0.0), "H1": (-0.36, 1.03, 0.0), "H2": (-0.36, -0.51, 0.89)}
METHANOL |= {"H3": (-0.36, -0.51, -0.89), "HO": (1.72, 0.9, 0.0)}
BONDS = "CONECT    1    2    3    4    5\nCONECT    2    6\n"
WATER = ((0.0, 0.0, 0.0), (0.96, 0.0, 0.0), (-0.24, 0.93, 0.0))


def record(serial, name, position, residue="LIG", number="   1", location=" ", insertion=" ", element=None, charge="  ", chain="A"):
    """An ATOM record; the element is the name's first letter unless it is given."""
    columns = f"{name:<4}" if len(name) == 4 or name != name.strip() else f" {name:<3}"
    x, y, z = position
    element = name.strip()[0] if element is None else element
    head = f"HETATM{serial:>5} {columns}{location}{residue:>3} {chain}{number:>4}{insertion}   "
    return f"{head}{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {element:>2}{charge}\n"


def methanol(**settings):
    return "".join(record(k, name, position, **settings) for k, (name, position) in enumerate(METHANOL.items(), start=1))


def written(graph, positions):
    stream = io.BytesIO()
    write_pdb(Ensemble(graph, positions, Provenance("test", "0"), np.zeros(len(positions), np.int8)), stream)
    return stream.getvalue()


@pytest.fixture
def read(tmp_path):
    def from_text(text):
        path = tmp_path / "file.pdb"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_pdb(path)

    return from_text


@pytest.fixture(scope="module")
def druglike(shared_data):
    """Graphs with positions (nm) of a few hundred drug-like molecules of the list, every tenth of those that the slow test takes."""
    return list(embedded(shared_data, 100))


def embedded(shared_data, number):
    lines = (shared_data.parent / "tools" / "druglike_smiles.txt").read_text().split()
    settings = rdDistGeom.ETKDGv3()
    settings.randomSeed, settings.maxIterations = 7, 3
    for smiles in lines[:: len(lines) // number][:number]:
        try:
            graph = MolecularGraph.from_smiles(smiles)
        except MoleculeError:
            continue
        mol = graph.to_rdkit()
        if rdDistGeom.EmbedMolecule(mol, settings) == 0:
            yield graph, mol.GetConformer().GetPositions() / 10


def lost(molecules, read):
    """Molecules whose file reads as another one."""
    wrong = []
    for graph, positions in molecules:
        again, frames = read(written(graph, positions[None]))
        keys, wanted = again.order_key, graph.order_key
        same = keys[:2] == wanted[:2] and set(wanted[2]) <= set(keys[2]) and set(wanted[3]) <= set(keys[3])
        if not (same and again.name == graph.name and np.abs(frames[0] - positions).max() < 5.01e-5):
            wrong.append((graph.smiles, again.smiles, again.name))
    return wrong


def test_what_is_written_reads_as_the_same_molecule(druglike, read):
    assert len(druglike) > 85
    assert lost(druglike, read) == []


@pytest.mark.slow
def test_a_thousand_molecules_read_as_what_was_written(shared_data, read):
    RDLogger.DisableLog("rdApp.*")
    molecules = list(embedded(shared_data, 1000))
    assert len(molecules) > 900 and lost(molecules, read) == []


def test_what_is_read_has_the_same_system(druglike, read):
    """Systems that are equal to the last digit have the same energies at all coordinates."""
    from openmm import XmlSerializer

    builder = SystemBuilder()
    for graph, positions in druglike[::10]:
        again, _ = read(written(graph, positions[None]))
        assert XmlSerializer.serialize(builder.build(again)) == XmlSerializer.serialize(builder.build(graph))


def test_other_programs_read_what_is_written(druglike, tmp_path):
    for graph, positions in druglike[:20]:
        content = written(graph, positions[None])
        by_openmm = app.PDBFile(io.StringIO(content.decode()))
        assert [a.element.atomic_number for a in by_openmm.topology.atoms()] == graph.numbers.tolist()
        bonds = sorted(sorted((b[0].index, b[1].index)) for b in by_openmm.topology.bonds())
        assert bonds == sorted(graph.bonds.tolist())
        by_rdkit = Chem.MolFromPDBBlock(content.decode(), removeHs=False)
        if graph.total_charge == 0 and not any(a.GetFormalCharge() for a in graph.mol.GetAtoms()):
            assert Chem.MolToSmiles(Chem.RemoveHs(by_rdkit), isomericSmiles=False) == graph.constitution


def test_files_of_rdkit_are_read_with_their_bond_orders(druglike, read):
    for graph, positions in druglike[:20]:
        again, _ = read(Chem.MolToPDBBlock(graph.to_rdkit(positions[None])))
        assert again.order_key[:2] == graph.order_key[:2] and again.name == graph.name


@pytest.mark.parametrize("name", ["benzyl alcohol", "C/C=C\\C", "Ω-3 acid \\x41", "x" * 250, "two\nlines\tand\r\ntabs", "END", "αβγ" * 60])
def test_names_come_back(name, read):
    graph = MolecularGraph.from_smiles("CO", name)
    positions = np.array([list(METHANOL.values())]) / 10
    content = written(graph, positions)
    assert content.isascii() and max(map(len, content.splitlines())) <= 80
    assert read(content)[0].name == " ".join(name.split())


def test_names_of_the_protein_data_bank_are_no_names(read):
    assert read("COMPND    MOL_ID: 1;\nCOMPND   2 MOLECULE: LYSOZYME;\n" + methanol() + BONDS)[0].name == "file"


def test_isotopes_come_back(read):
    graph = MolecularGraph.from_smiles("[2H]C([3H])([13CH3])[15NH2]")
    ensemble = embed_etkdg(graph, 1, 1)
    assert read(written(graph, ensemble.positions))[0].order_key[:2] == graph.order_key[:2]


def test_peptides_are_read_as_openmm_reads_them(shared_data):
    path = shared_data / "ala2_md" / "ala2.pdb"
    graph, frames = read_pdb(path)
    by_openmm = app.PDBFile(str(path))
    np.testing.assert_allclose(frames[0], by_openmm.getPositions(asNumpy=True)._value, atol=1e-9)
    names = [(a.name, a.residue.name, a.residue.id) for a in graph.to_topology().atoms()]
    assert names == [(a.name, a.residue.name, a.residue.id) for a in by_openmm.topology.atoms()]
    assert sorted(graph.bonds.tolist()) == sorted(sorted((b[0].index, b[1].index)) for b in by_openmm.topology.bonds())


def test_written_peptides_have_no_connections(shared_data, tmp_path):
    (ensemble,) = read_ensembles(shared_data / "ala2_md" / "ala2.pdb")
    (path,) = write_ensembles([ensemble], tmp_path / "out.pdb")
    assert app.PDBFile(str(path)).topology.getNumBonds() == len(ensemble.graph.bonds)
    assert read_pdb(path)[0].same_as(ensemble.graph)


def test_methanol_in_every_form(read):
    plain = methanol()
    forms = {
        "as it is": plain + BONDS,
        "no bonds": plain,
        "hexadecimal serials": plain.replace("HETATM    ", "HETATMA000") + BONDS.replace("    ", "A000"),
        "hybrid-36 serials": plain.replace("HETATM    ", "HETATMZ000") + BONDS.replace("    ", "Z000"),
        "no element columns": methanol(element="") + BONDS,
        "two locations": plain + methanol(location="B") + BONDS,
        "listed twice": plain + BONDS * 2,
        "listed from both ends": plain + BONDS + "".join(f"CONECT{k:5}{1 if k < 6 else 2:5}\n" for k in (3, 4, 5, 6)),
        "separated by spaces": plain + "CONECT 1 2 3 4 5\nCONECT 2 6\n",
        "charges": methanol(charge="0+") + BONDS,
        "other frames": plain + "END\n" + plain + "END\n" + BONDS,
    }
    for form, text in forms.items():
        graph, frames = read(text)
        assert graph.smiles == "CO", form
        assert len(frames) == (2 if form == "other frames" else 1), form
        np.testing.assert_allclose(10 * frames[0], list(METHANOL.values()), atol=1e-9)


def test_bonds_that_every_model_lists_again_are_not_double(read):
    """Benzene without its hydrogens would be a ring of cumulated double bonds."""
    ring = 1.39 * np.array([(np.cos(a), np.sin(a), 0) for a in np.arange(6) * np.pi / 3])
    atoms = "".join(record(k, f"C{k}", position) for k, position in enumerate(ring, start=1))
    bonds = "CONECT    1    2    6\n" + "".join(f"CONECT{k:5}{k + 1:5}\n" for k in range(2, 6))
    for text in (2 * (atoms + bonds + "END\n"), 2 * (atoms + "END\n") + 2 * bonds, atoms + bonds):
        with pytest.raises(MoleculeError, match=r"The molecule has no hydrogens, and .*; add them"):
            read(text)
    graph, frames = read(2 * (methanol() + BONDS + "END\n"))
    assert graph.smiles == "CO" and len(frames) == 2


@pytest.mark.parametrize(
    "smiles", ["O=C=O", "FC(F)=C(F)F", "N#CC#N", "Fc1c(F)c(F)c(F)c(F)c1F", "ClC(Cl)(Cl)Cl", "S=C=S", "O=C(Cl)Cl", "N#CC(C#N)=C(C#N)C#N"]
)
def test_molecules_that_have_no_hydrogens_are_read(read, smiles):
    graph = MolecularGraph.from_smiles(smiles)
    again, _ = read(written(graph, embed_etkdg(graph, 1, 0).positions))
    assert again.same_as(graph)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        (methanol() + methanol() + BONDS, FileFormatError, "2 atoms of .* serial number 1 .* number them anew"),
        ("MODEL 1\n" + methanol() + "ENDMDL\nMODEL 2\n" + methanol()[:400] + "\nENDMDL\n", FileFormatError, "MODEL 2 has"),
        ("MODEL 1\n" + methanol() + "ENDMDL\nMODEL 2\n" + methanol(residue="XXX") + "ENDMDL\n", FileFormatError, "C of LIG 1 .* C of XXX"),
        (methanol().replace("   1.410", "     xxx") + BONDS, FileFormatError, "Line 2 of .* coordinates in 31-54"),
        (methanol().replace("   1.410", "     nan") + BONDS, FileFormatError, "Line 2 of"),
        (methanol() + record(7, "EP", (0, 0, 1.0), element="EP") + BONDS, MoleculeError, "virtual site .EP"),
        (methanol() + record(7, "M", (0, 0, 1.0), element="") + BONDS, MoleculeError, "does not tell its element.*77-78"),
        (methanol().replace(" C   LIG", "CA   LIG").replace(" C  \n", "    \n") + BONDS, MoleculeError, "CA of residue LIG 1 .*77-78"),
        (methanol() + record(7, "H9", (9.0, 9.0, 9.0)) + BONDS, MoleculeError, "Atom H9 of residue LIG 1 has no bond; add CONECT"),
        (methanol(charge="1+") + BONDS, MoleculeError, "charges"),
        ("REMARK nothing\n", FileFormatError, "no ATOM or HETATM"),
    ],
)
def test_files_that_could_be_taken_for_something_else_are_refused(read, text, error, said):
    with pytest.raises(error, match=said) as caught:
        read(text)
    assert "\n" not in str(caught.value) and ";" in str(caught.value)


def waters(number, **settings):
    names, elements = ("O", "H1", "H2"), ("O", "H", "H")
    lines = []
    for k in range(number):
        for serial, (name, element, (x, y, z)) in enumerate(zip(names, elements, WATER, strict=True), start=3 * k + 1):
            lines.append(record(serial, name, (x + 3 * k, y, z), residue="HOH", element=element, **settings))
    return "".join(lines)


def test_waters_with_one_residue_number_are_several_molecules(read):
    assert read(waters(1))[0].smiles == "O"
    with pytest.raises(MoleculeError, match="2 fragments"):
        read(waters(2))


@pytest.fixture(scope="module")
def peptide_text():
    mol = Chem.AddHs(Chem.MolFromSequence("AMC"), addResidueInfo=True)
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=2) == 0
    number = [atom.GetPDBResidueInfo().GetResidueNumber() for atom in mol.GetAtoms()]
    mol = Chem.RenumberAtoms(mol, [int(i) for i in np.argsort(number, kind="stable")])
    for serial, atom in enumerate(mol.GetAtoms(), start=1):
        atom.GetPDBResidueInfo().SetSerialNumber(serial)
    lines = Chem.MolToPDBBlock(mol).splitlines()
    return "\n".join(line for line in lines if line.startswith(("ATOM", "HETATM")))


def test_residues_are_told_apart_by_insertion_codes(read, peptide_text):
    graph, _ = read(peptide_text)
    assert Chem.MolToSmiles(Chem.RemoveHs(graph.mol)) == Chem.CanonSmiles(Chem.MolToSmiles(Chem.MolFromSequence("AMC")))
    inserted = peptide_text.replace("MET A   2 ", "MET A   1A").replace("CYS A   3 ", "CYS A   1B")
    again, _ = read(inserted)
    assert again.order_key == graph.order_key
    assert [r.insertionCode for r in again.to_topology().residues()] == ["", "A", "B"]


def test_elements_are_told_by_columns_or_names(read, peptide_text):
    graph, _ = read(peptide_text)
    bare = "\n".join(line[:76] for line in peptide_text.splitlines())
    assert read(bare)[0].order_key == graph.order_key
    calcium = "\n".join(f"{line[:76]}CA" if line[12:16] == " CA " else line for line in peptide_text.splitlines())
    with pytest.raises(MoleculeError, match="Atom CA of residue ALA 1 has the element Ca"):
        read(calcium)


def test_selenomethionine_is_known(read, peptide_text):
    selenium = peptide_text.replace("MET", "MSE").replace(" SD ", "SE  ")
    lines = [f"{line[:76]}SE{line[78:]}" if line[12:14] == "SE" else line for line in selenium.splitlines()]
    graph, _ = read("\n".join(lines))
    assert "[Se]" in graph.smiles
    assert graph.smiles.replace("[Se]", "S") == read(peptide_text)[0].smiles


def test_unknown_residues_are_named(read, peptide_text):
    with pytest.raises(
        MoleculeError, match=r"Residue XYZ 2 has no bonds in the file and is unknown by name; add CONECT records, or rename"
    ):
        read(peptide_text.replace("MET", "XYZ"))
    with pytest.raises(MoleculeError, match="Atom CX.* of residue MET 2 has no bond"):
        read(peptide_text.replace(" CE  MET", " CX  MET"))


def test_chains_with_gaps_are_not_closed(read, peptide_text):
    """Residues whose neighbours are missing lie far apart, and a bond between them would make another peptide."""
    with pytest.raises(MoleculeError, match="fragments|lacks a hydrogen"):
        read("\n".join(line for line in peptide_text.splitlines() if "MET" not in line))


def test_standard_residues_without_hydrogens_are_refused(read, peptide_text):
    lines = [line for line in peptide_text.splitlines() if not (" MET" in line and line[76:78] == " H")]
    with pytest.raises(MoleculeError):
        read("\n".join(lines))
    amide = peptide_text.splitlines()
    nitrogen = next(k for k, line in enumerate(amide) if line[12:16] == " N  " and "MET" in line)
    graph, _ = read(peptide_text)
    del amide[next(n.GetIdx() for n in graph.mol.GetAtomWithIdx(nitrogen).GetNeighbors() if n.GetAtomicNum() == 1)]
    with pytest.raises(MoleculeError, match="Atom N of residue MET 2 lacks a hydrogen"):
        read("\n".join(amide))

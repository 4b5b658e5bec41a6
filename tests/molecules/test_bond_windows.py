import numpy as np
import pytest
from rdkit import Chem

from openmm_confgf.molecules.bond_windows import (
    AMPLITUDES,
    AMPLITUDES_AT_END,
    EMBEDDED,
    HOTTEST,
    _thermal_amplitude,
    bond_kind,
    bond_window,
    thermal_allowance,
)
from openmm_confgf.molecules.checks import check_conformations
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.status import Status

TEMPERATURES = (0.0, EMBEDDED, HOTTEST)


def window(smiles, i, j, temperature=0.0):
    """Of the bond of two atoms, Angstrom."""
    low, high = bond_window(MolecularGraph.from_smiles(smiles).mol.GetBondBetweenAtoms(i, j), temperature)
    return 10 * low, 10 * high


# experimental lengths (gas phase or crystals), A
LENGTHS = [
    ("CC", 0, 1, 1.53), ("C=C", 0, 1, 1.33), ("C#C", 0, 1, 1.20), ("c1ccccc1", 0, 1, 1.397), ("CO", 0, 1, 1.43), ("C=O", 0, 1, 1.205),
    ("CN", 0, 1, 1.47), ("C#N", 0, 1, 1.156), ("CS", 0, 1, 1.82), ("c1ccsc1", 2, 3, 1.714), ("CF", 0, 1, 1.38), ("CCl", 0, 1, 1.78),
    ("CBr", 0, 1, 1.94), ("CI", 0, 1, 2.14), ("C[Si](C)(C)C", 0, 1, 1.875), ("FS(F)(F)(F)(F)F", 0, 1, 1.56), ("FP(F)(F)(F)F", 0, 1, 1.55),
    ("OO", 0, 1, 1.47), ("CSSC", 1, 2, 2.03), ("NN", 0, 1, 1.45), ("CS(C)(=O)=O", 1, 3, 1.43), ("CN=[N+]=[N-]", 2, 3, 1.13),
    ("O=P(Cl)(Cl)Cl", 0, 1, 1.45), ("C=C=C=C", 1, 2, 1.28), ("BrBr", 0, 1, 2.28), ("II", 0, 1, 2.67), ("ClI(Cl)Cl", 0, 1, 2.38),
]  # fmt: skip


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize(("smiles", "i", "j", "length"), LENGTHS)
def test_known_lengths_are_within(smiles, i, j, length, temperature):
    low, high = window(smiles, i, j, temperature)
    assert low < length < high


@pytest.mark.parametrize(
    ("smiles", "i", "j", "length"),
    [
        ("C#C", 0, 1, 1.07), ("C#C", 0, 1, 1.34), ("C=C", 0, 1, 1.54), ("C=C", 0, 1, 1.18), ("CC", 0, 1, 1.20), ("CC", 0, 1, 1.90),
        ("c1ccccc1", 0, 1, 1.20), ("c1ccccc1", 0, 1, 1.70), ("C=O", 0, 1, 1.43), ("C#N", 0, 1, 1.30), ("[H]C", 0, 1, 1.45),
    ],
)  # fmt: skip
def test_other_lengths_are_not(smiles, i, j, length):
    for temperature in (0.0, HOTTEST):
        low, high = window(smiles, i, j, temperature)
        assert not low < length < high


@pytest.mark.parametrize(("smiles", "i", "j", "length", "_"), [(*row, None) for row in LENGTHS])
def test_heat_widens_both_ends(smiles, i, j, length, _):
    lows, highs = zip(*(window(smiles, i, j, temperature) for temperature in TEMPERATURES), strict=True)
    assert sorted(lows, reverse=True) == list(lows) and len(set(lows)) == 3
    assert sorted(highs) == list(highs) and len(set(highs)) == 3


def test_amplitude_is_that_of_the_bond():
    """HF has 965 N/m (Huber & Herzberg 1979) at 0.917 A; Badger's rule is good to a fifth of sqrt(RT/k)."""
    bond = MolecularGraph.from_smiles("F").mol.GetBondWithIdx(0)
    wanted = np.sqrt(8.314e-3 * 500 / (965 * 602.2))
    assert _thermal_amplitude(bond, 0.0917, 500.0) == pytest.approx(wanted, rel=0.2)


def test_bonds_lengthen_more_than_they_shorten():
    (low, high), (cold, hot) = window("CSC", 0, 1, 0.0), window("CSC", 0, 1, HOTTEST)
    assert hot - high > low - cold > 0


def test_what_heat_adds_to_a_range():
    assert thermal_allowance(0.01, 0.0) == AMPLITUDES * 0.01
    assert thermal_allowance(0.01, 100.0) == AMPLITUDES_AT_END * 0.01
    assert thermal_allowance(0.0, 0.3) == 0.0


def test_kinds_do_not_depend_on_the_order_of_the_ends():
    graph = MolecularGraph.from_smiles("OC=CC#N")
    turned = Chem.RenumberAtoms(graph.mol, list(range(len(graph)))[::-1])
    assert sorted(bond_kind(b) for b in graph.mol.GetBonds()) == sorted(bond_kind(b) for b in turned.GetBonds())
    assert {"C-O*", "C=C*", "C-C*", "C#N*", "C-H", "H-O"} == {bond_kind(b) for b in graph.mol.GetBonds()}


@pytest.mark.parametrize("smiles", ["CC([O-])=O", "CS(=O)(=O)[O-]", "C[P+](C)(C)[CH2-]"])
def test_what_is_drawn_with_charges_may_be_as_short_as_a_double_bond(smiles):
    graph = MolecularGraph.from_smiles(smiles)
    anion = next(a for a in graph.mol.GetAtoms() if a.GetFormalCharge() < 0)
    heavy = next(b for b in anion.GetBonds() if b.GetOtherAtom(anion).GetAtomicNum() > 1)
    doubles = [b for b in graph.mol.GetBonds() if b.GetBondType() == Chem.BondType.DOUBLE] or [heavy]
    assert bond_window(heavy, 0.0)[0] <= bond_window(doubles[0], 0.0)[0]


@pytest.mark.parametrize("smiles", ["C[Ge](C)(C)Cl", "C[Pb](C)(C)C", "F[As](F)F", "C[Ga](C)C"])
def test_elements_without_data_have_windows_about_the_sum_of_their_radii(smiles):
    table = Chem.GetPeriodicTable()
    for bond in MolecularGraph.from_smiles(smiles).mol.GetBonds():
        low, high = bond_window(bond, 0.0)
        radii = 0.1 * sum(table.GetRcovalent(a.GetAtomicNum()) for a in (bond.GetBeginAtom(), bond.GetEndAtom()))
        assert 0.6 * radii < low < radii < high < 1.5 * radii


def hexagon(lengths):
    """Benzene whose carbons' bonds alternate, with all angles of 120 degrees; nm."""
    graph = MolecularGraph.from_smiles("c1ccccc1")
    directions = [np.array([np.cos(a), np.sin(a), 0]) for a in np.radians(60.0 * np.arange(6))]
    corners = [np.zeros(3)]
    for k in range(5):
        corners.append(corners[-1] + 0.1 * lengths[k % 2] * directions[k])
    carbons = np.array(corners)
    outward = [-(directions[k] - directions[k - 1]) for k in range(6)]  # along the bisector of the outer angle
    return graph, np.concatenate([carbons, carbons + 0.1085 * np.array([v / np.linalg.norm(v) for v in outward])])


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_benzene_is_no_cyclohexatriene(temperature):
    graph, regular = hexagon((1.395, 1.395))
    assert check_conformations(graph, regular[None], temperature).tolist() == [Status.OK]
    assert check_conformations(graph, hexagon((1.2, 1.6))[1][None], temperature).tolist() == [Status.WRONG_GRAPH]


def test_an_alkyne_of_1_07_angstrom_is_not_ok():
    graph = MolecularGraph.from_smiles("C#C")
    for length, status in ((1.203, Status.OK), (1.07, Status.WRONG_GRAPH)):
        x = np.array([-length / 2, length / 2, -length / 2 - 1.06, length / 2 + 1.06]) * 0.1
        assert check_conformations(graph, np.stack([x, 0 * x, 0 * x], -1)[None]).tolist() == [status]

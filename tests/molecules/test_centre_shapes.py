import itertools

import numpy as np
import pytest
from rdkit import Chem

from openmm_confgf.molecules.bond_windows import HOTTEST, bond_window
from openmm_confgf.molecules.centre_shapes import CentreShapes
from openmm_confgf.molecules.checks import check_conformations
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.status import Status

TEMPERATURES = (0.0, HOTTEST)


def statuses(graph, frame):
    """At 0 K and at the default."""
    return [Status(check_conformations(graph, frame[None], t)[0]) for t in TEMPERATURES]


def around(smiles, directions, outer=()):
    """One atom with its neighbours in these directions, at the middle of their windows; nm.

    `outer` are directions from a neighbour to its own neighbours, which all bonded to it share.
    """
    graph = MolecularGraph.from_smiles(smiles)
    centre = max(graph.mol.GetAtoms(), key=lambda a: (a.GetDegree(), a.GetAtomicNum()))
    frame = np.zeros((len(graph), 3))
    for bond, direction in zip(centre.GetBonds(), np.array(directions, float), strict=True):
        other = bond.GetOtherAtomIdx(centre.GetIdx())
        frame[other] = np.mean(bond_window(bond, 0.0)) * direction / np.linalg.norm(direction)
        further = [b for b in graph.mol.GetAtomWithIdx(other).GetBonds() if b.GetIdx() != bond.GetIdx()]
        for b, tripod in zip(further, _tripod(direction), strict=False):
            frame[b.GetOtherAtomIdx(other)] = frame[other] + np.mean(bond_window(b, 0.0)) * tripod
    return graph, frame


def _tripod(direction):
    """Three directions that with the opposite of this one make a tetrahedron."""
    z = np.array(direction, float) / np.linalg.norm(direction)
    x = np.cross(z, [0.31, 0.87, 0.38])
    x /= np.linalg.norm(x)
    y = np.cross(z, x)
    return [z / 3 + np.sqrt(8) / 3 * (np.cos(a) * x + np.sin(a) * y) for a in np.radians([0, 120, 240])]


def _plane(*degrees):
    return [(np.cos(a), np.sin(a), 0) for a in np.radians(degrees)]


OCTAHEDRON = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]
PRISM = [(np.cos(a), np.sin(a), z) for z in (-0.76, 0.76) for a in np.radians([0, 120, 240])]
TETRAHEDRON = [(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)]
SQUARE = _plane(0, 90, 180, 270)
BIPYRAMID = [*_plane(0, 120, 240), (0, 0, 1), (0, 0, -1)]
SEE_SAW = [*_plane(-51, 51), (0.05, 0, 1), (0.05, 0, -1)]
TEE = _plane(0, 88, -88)
TRIGON = _plane(0, 120, 240)
PYRAMID = [(np.cos(a), np.sin(a), 0.4) for a in np.radians([0, 120, 240])]

RIGHT = {
    "octahedral SF6": ("FS(F)(F)(F)(F)F", OCTAHEDRON),
    "octahedral PF6-": ("F[P-](F)(F)(F)(F)F", OCTAHEDRON),
    "SF4, a see-saw": ("FS(F)(F)F", SEE_SAW),
    "PF5, a trigonal bipyramid": ("FP(F)(F)(F)F", BIPYRAMID),
    "square XeF4": ("F[Xe](F)(F)F", SQUARE),
    "ICl3, a T": ("ClI(Cl)Cl", TEE),
    "square PtCl2(NH3)2": ("[NH3][Pt](Cl)(Cl)[NH3]", SQUARE),
    "planar BF3": ("FB(F)F", TRIGON),
    "tetrahedral CH4": ("C", TETRAHEDRON),
    "pyramidal NH3": ("N", PYRAMID),
    "pyramidal PF3": ("FP(F)F", [(np.cos(a), np.sin(a), 0.6) for a in np.radians([0, 120, 240])]),
    "planar COCl2": ("O=C(Cl)Cl", TRIGON),
    "planar NO3-": ("[O-][N+](=O)[O-]", TRIGON),
    "planar SO3": ("O=S(=O)=O", TRIGON),
    "linear CO2": ("O=C=O", [(1, 0, 0), (-1, 0, 0)]),
    "linear XeF2": ("F[Xe]F", [(1, 0, 0), (-1, 0, 0)]),
    "linear I3-": ("I[I-]I", [(1, 0, 0), (-1, 0, 0)]),
}
WRONG = {
    "prismatic SF6": ("FS(F)(F)(F)(F)F", PRISM),
    "planar SF6": ("FS(F)(F)(F)(F)F", _plane(*range(0, 360, 60))),
    "tetrahedral SF4": ("FS(F)(F)F", TETRAHEDRON),
    "square SF4": ("FS(F)(F)F", SQUARE),
    "pentagonal PF5": ("FP(F)(F)(F)F", _plane(*range(0, 360, 72))),
    "tetrahedral XeF4": ("F[Xe](F)(F)F", TETRAHEDRON),
    "planar ICl3, at 120 degrees": ("ClI(Cl)Cl", TRIGON),
    "tetrahedral PtCl2(NH3)2": ("[NH3][Pt](Cl)(Cl)[NH3]", TETRAHEDRON),
    "BF3, a T": ("FB(F)F", TEE),
    "pyramidal BF3": ("FB(F)F", PYRAMID),
    "planar CH4": ("C", SQUARE),
    "see-saw CF4": ("FC(F)(F)F", [(0, 0, 1), (0, 0, -1), (1, 0, 0), (0, 1, 0)]),
    "pyramidal COCl2": ("O=C(Cl)Cl", [(np.cos(a), np.sin(a), 0.6) for a in np.radians([0, 120, 240])]),
    "CO2 bent to 120": ("O=C=O", _plane(0, 120)),
    "XeF2 bent to 110": ("F[Xe]F", _plane(0, 110)),
    "OF2 at 60": ("FOF", _plane(0, 45)),
}


@pytest.mark.parametrize("name", RIGHT)
def test_shapes_that_the_valence_asks_for(name):
    assert statuses(*around(*RIGHT[name])) == [Status.OK, Status.OK]


@pytest.mark.parametrize("name", WRONG)
def test_other_shapes_are_distorted(name):
    assert statuses(*around(*WRONG[name])) == [Status.DISTORTED, Status.DISTORTED]


def test_fluorines_of_sf5_that_touch():
    """The bond lengths of phenyl-SF5's group are right, and F...F is 1.44 A."""
    for fluorines, status in (
        ([(1, 0, 0), (0, 1, 0), (-1, 0, 0), (0, -1, 0), (0, 0, 1)], Status.OK),
        (_plane(0, 55.4, 110.8, 180, 270), Status.DISTORTED),
    ):
        graph, frame = around("FS(F)(F)(F)(F)C", [*fluorines, (0, 0, -1)])
        assert statuses(graph, frame) == [status, status]


def test_a_four_ring_of_silicon_and_oxygen():
    """The GFN2-xTB minimum of tetramethylcyclodisiloxane, heavy atoms of D2h: Si...Si is 2.42 A across the ring."""
    from openmm_confgf.energies import minimize_gfn2
    from openmm_confgf.generators.etkdg import embed_etkdg

    graph = MolecularGraph.from_smiles("C[Si]1(C)O[Si](C)(C)O1")
    minimum = minimize_gfn2(graph, embed_etkdg(graph, 1, 0).positions)
    silicon = np.flatnonzero(graph.numbers == 14)
    assert np.linalg.norm(np.subtract(*minimum.positions[0, silicon])) == pytest.approx(0.242, abs=0.003)
    assert statuses(graph, minimum.positions[0]) == [Status.OK, Status.OK]


def but_2_yne(degrees):
    """Bent by the same angle at both inner carbons, cis; nm."""
    away = np.radians(180 - degrees)
    axis = np.array([np.cos(away), np.sin(away), 0])
    b, c = np.array([-0.0602, 0, 0]), np.array([0.0602, 0, 0])
    a, d = b + 0.147 * axis * [-1, 1, 1], c + 0.147 * axis
    frame = [a, b, c, d, *(a + 0.109 * v for v in _tripod(a - b)), *(d + 0.109 * v for v in _tripod(d - c))]
    return MolecularGraph.from_smiles("CC#CC"), np.array(frame)


@pytest.mark.parametrize(("degrees", "status"), [(180, Status.OK), (165, Status.OK), (120, Status.DISTORTED)])
def test_alkynes_are_nearly_straight(degrees, status):
    assert statuses(*but_2_yne(degrees)) == [status, status]


def minimum_of_ring(smiles):
    """GFN2-xTB, from ETKDG's conformation of the alkene that has two hydrogens more."""
    from rdkit.Chem import AllChem

    from openmm_confgf.energies import minimize_gfn2

    graph = MolecularGraph.from_smiles(smiles)
    alkene = Chem.RWMol(graph.mol)
    (triple,) = (b for b in alkene.GetBonds() if b.GetBondType() == Chem.BondType.TRIPLE)
    triple.SetBondType(Chem.BondType.DOUBLE)
    for end in (triple.GetBeginAtomIdx(), triple.GetEndAtomIdx()):
        alkene.AddBond(end, alkene.AddAtom(Chem.Atom(1)), Chem.BondType.SINGLE)
    Chem.SanitizeMol(alkene)
    assert AllChem.EmbedMolecule(alkene, randomSeed=1) == 0
    return graph, minimize_gfn2(graph, 0.1 * alkene.GetConformer().GetPositions()[None, : len(graph)]).positions[0]


@pytest.mark.parametrize(
    "smiles", ["C1CCCCC#CC1", "C1CCCC#CC1", "C1CCCC#C1", "c1cccc#c1", "c1ccc2cc#ccc2c1", "C1CCCCCC#CC1"],
    ids=["cyclooctyne", "cycloheptyne", "cyclohexyne", "benzyne", "naphthalyne", "cyclononyne"],
)  # fmt: skip
def test_alkynes_in_rings_are_bent(smiles):
    assert statuses(*minimum_of_ring(smiles)) == [Status.OK, Status.OK]


@pytest.mark.parametrize("smiles", ["C1=C=CCCC1", "C1=C=CC=CC1"], ids=["cyclohexa-1,2-diene", "isobenzene"])
def test_allenes_in_rings_of_six_are_bent(smiles):
    from openmm_confgf.energies import minimize_gfn2
    from openmm_confgf.generators.etkdg import embed_etkdg

    graph = MolecularGraph.from_smiles(smiles)
    embedded = embed_etkdg(graph, 1, 0).positions
    assert statuses(graph, minimize_gfn2(graph, embedded).positions[0]) == [Status.OK, Status.OK]


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize(("smiles", "size"), [("C1#CC1", 3), ("C1#CCC1", 4)])
def test_rings_of_three_and_four_hold_no_alkyne(smiles, size, temperature):
    """What remains of the window is out of reach of a ring whose other angle at the alkyne must fit too."""
    shapes = CentreShapes.of(MolecularGraph.from_smiles(smiles), temperature)
    at_ends = (np.isin(shapes.triples[:, 1], [0, 1])) & (shapes.triples < size).all(-1)
    assert at_ends.sum() == 2
    # a quadrangle of 1.20 and 3 bonds of 1.5 A with both angles equal has less than 97 degrees, a triangle less than 67
    assert (np.degrees(shapes.low[at_ends]) > {3: 67, 4: 97}[size]).all()


def turned_halves(twist):
    """F2C=CF2 whose two halves are turned against each other by degrees; nm."""
    graph = MolecularGraph.from_smiles("FC(F)=C(F)F")
    t, arm = np.radians(twist), 0.132
    x, y = np.cos(np.radians(62)) * arm, np.sin(np.radians(62)) * arm
    left = [np.array([-0.067 - x, side * y, 0]) for side in (1, -1)]
    right = [np.array([0.067 + x, side * y * np.cos(t), side * y * np.sin(t)]) for side in (1, -1)]
    return graph, np.array([left[0], [-0.067, 0, 0], left[1], [0.067, 0, 0], right[0], right[1]])


@pytest.mark.parametrize(("twist", "status"), [(0, Status.OK), (30, Status.OK), (90, Status.DISTORTED), (180, Status.OK)])
def test_a_double_bond_whose_stereo_is_open_is_not_twisted(twist, status):
    assert statuses(*turned_halves(twist)) == [status, status]


def test_shapes_do_not_depend_on_the_order_of_atoms():
    smiles, directions = RIGHT["SF4, a see-saw"]
    graph, frame = around(smiles, directions)
    for order in itertools.islice(itertools.permutations(range(len(graph))), 0, 120, 17):
        turned = MolecularGraph.from_rdkit(Chem.RenumberAtoms(graph.mol, list(order)))
        assert statuses(turned, frame[list(order)]) == [Status.OK, Status.OK]

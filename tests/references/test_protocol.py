import dataclasses
import shutil

import numpy as np
import pytest

from openmm_confgf.energies import ContextEnergy, GFN2Energy, create_system, minimize_gfn2
from openmm_confgf.errors import ConfGFError, ForceFieldError, GenerationError
from openmm_confgf.files.archive import load_archive
from openmm_confgf.molecules.checks import check_conformations
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.rmsd import distinct_minima, rmsd_matrix
from openmm_confgf.references import ReferenceMaker, ReferenceProtocol, reference_ensemble
from openmm_confgf.references.protocol import DISPLACEMENT
from openmm_confgf.status import Status

needs_gfn2 = pytest.mark.skipif(shutil.which("xtb") is None, reason="the program xtb is not on the PATH; tblite takes minutes")


def assert_finds_the_archives_minima(molecule, starts):
    """Each minimum that the archive's geometries lead to is in an ensemble made from SMILES alone, at its energy."""
    pytest.importorskip("tblite.interface", reason="tblite is not installed")
    # the archive stops at gradients of up to 4e-4 Hartree/Bohr, which leaves a kJ/mol in methyl groups, and some nitrogens planar on their
    # saddle point: go down from there
    shaken = molecule.positions + np.random.default_rng(0).normal(scale=DISPLACEMENT, size=molecule.positions.shape)
    archived = minimize_gfn2(molecule.graph, shaken)
    assert (archived.status == Status.OK).all()
    found = reference_ensemble(molecule.graph, ReferenceProtocol(starts=starts))
    lowest = GFN2Energy(molecule.graph).evaluate(found.positions[0]).energy[0]
    inside = archived.energy < lowest + ReferenceProtocol().window
    near = 10 * rmsd_matrix(molecule.graph, archived.positions[inside], found.positions) < 0.125
    alike = np.abs(archived.energy[inside, None] - lowest - found.energies) < 0.5
    assert (near & alike).any(axis=1).all(), f"{(near & alike).any(axis=1).mean():.0%} of the archive's minima of {molecule.name}"
    assert inside.any() and lowest < archived.energy.min() + 0.1


@needs_gfn2
def test_a_rigid_molecule_has_the_minima_of_the_archive(shared_data):
    molecules = {m.name: m for m in load_archive(shared_data / "qm9_xtb_test.npz")}
    assert_finds_the_archives_minima(molecules["CC[C@]12C[C@H]1CN=CO2"], starts=10)


@needs_gfn2
@pytest.mark.slow
@pytest.mark.parametrize("name", ["O=CN1[C@H]2C[C@H]3O[C@H]3[C@H]21", "CNc1nc[nH]c1N", "C#Cc1cc(CO)c[nH]1", "CC(=NO)[C@H]1[C@H]2CC[C@H]21"])
def test_ensembles_hold_the_minima_of_the_archive(shared_data, name):
    molecules = {m.name: m for m in load_archive(shared_data / "qm9_xtb_test.npz")}
    assert_finds_the_archives_minima(molecules[name], starts=20)


@needs_gfn2
def test_planar_nitrogens_do_not_stay_on_their_saddle_point():
    # 27 kJ/mol above the pyramidal minima, where MMFF94s leaves every start
    graph = MolecularGraph.from_smiles("CNc1nc[nH]c1N")
    found = reference_ensemble(graph, ReferenceProtocol(starts=3))
    angles = 0.0
    for nitrogen in (a.GetIdx() for a in graph.mol.GetAtoms() if a.GetAtomicNum() == 7 and a.GetDegree() == 3 and not a.GetIsAromatic()):
        neighbours = [n.GetIdx() for n in graph.mol.GetAtomWithIdx(nitrogen).GetNeighbors()]
        arms = found.positions[0, neighbours] - found.positions[0, nitrogen]
        arms /= np.linalg.norm(arms, axis=1, keepdims=True)
        angles = max(angles, abs(np.linalg.det(arms)))
    assert angles > 0.3  # 0 where planar, 0.7 where tetrahedral


@pytest.fixture(scope="module")
def openff():
    return ReferenceMaker(ReferenceProtocol("openff-2.2.1", starts=6))


def test_a_force_fields_ensemble_follows_the_protocol(openff):
    graph = MolecularGraph.from_smiles("OC[C@@H](O)CF", name="glycol")
    made = openff.make(graph)
    assert made.graph is graph and made.name == "glycol" and made.positions.shape == (len(made.energies), len(graph), 3)
    assert (check_conformations(graph, made.positions) == Status.OK).all()
    with ContextEnergy(create_system(graph), "Reference") as energy:
        again = energy.evaluate(made.positions, forces=True)
    np.testing.assert_allclose(again.energy - again.energy[0], made.energies, atol=1e-6)
    assert np.sqrt((again.forces**2).mean(axis=(1, 2))).max() < 1.0
    assert made.energies[0] == 0 and (np.diff(made.energies) >= 0).all() and made.energies[-1] <= 25.104 and len(made.energies) > 3
    same = openff.make(graph)
    np.testing.assert_array_equal(same.positions, made.positions)


def test_an_achiral_molecule_has_each_minimum_and_its_mirror_image(openff):
    graph = MolecularGraph.from_smiles("FCCO")
    made = openff.make(graph)
    mirrored = made.positions * [1.0, -1.0, 1.0]
    assert rmsd_matrix(graph, mirrored, made.positions).min(axis=1).max() < 1e-3
    assert (rmsd_matrix(graph, mirrored, made.positions).diagonal() > 0.02).any()  # the gauche ones are chiral
    assert len(distinct_minima(graph, made.positions, made.energies, 0.0125, 0.4184)) == len(made.positions)


def test_window_and_limit(openff):
    graph = MolecularGraph.from_smiles("OC[C@@H](O)CF")
    everything = openff.make(graph)
    gap = float(everything.energies[2]) + 1e-6
    near = dataclasses.replace(openff.protocol, window=gap)
    few = dataclasses.replace(openff.protocol, max_kept=2)
    openff.protocol, given = near, openff.protocol
    try:
        np.testing.assert_array_equal(openff.make(graph).energies, everything.energies[everything.energies <= gap])
        openff.protocol = few
        np.testing.assert_array_equal(openff.make(graph).energies, everything.energies[:2])
    finally:
        openff.protocol = given


def test_provenance_tells_all_that_decides(openff):
    provenance = openff.provenance
    assert provenance["level"] == "openff-2.2.1" and provenance["starts"] == 6 and provenance["minimizer"]["program"] == "openmm"
    assert {"seed", "window", "max_kept", "rdkit", "openmm_confgf", "duplicate_rmsd_nm", "displacement_nm"} <= set(provenance)


@needs_gfn2
def test_a_molecule_that_is_none_at_the_level_is_refused():
    # in the gas phase the zwitterion's proton goes back to the carboxylate
    with pytest.raises(GenerationError, match="none of .* starts .*WRONG_GRAPH"):
        reference_ensemble(MolecularGraph.from_smiles("[NH3+]CC(=O)[O-]"), ReferenceProtocol(starts=2))


@pytest.mark.parametrize("change", [{"starts": 0}, {"window": 0.0}, {"window": float("nan")}, {"max_kept": 0}, {"seed": -1}])
def test_numbers_out_of_range_are_refused(change):
    with pytest.raises(ConfGFError, match="must be positive"):
        ReferenceProtocol(**change)


def test_mmff94s_is_a_level_too():
    maker = ReferenceMaker(ReferenceProtocol("mmff94s", starts=4))
    made = maker.make(MolecularGraph.from_smiles("CCCC", name="butane"))
    assert maker.provenance["minimizer"]["program"] == "rdkit"
    # anti, and both gauche ones 0.78 kcal/mol above it
    np.testing.assert_allclose(made.energies, [0, 3.27, 3.27], atol=0.05)


def test_an_unknown_level_is_refused():
    with pytest.raises(ForceFieldError, match="no force field 'gfn9'"):
        ReferenceMaker(ReferenceProtocol("gfn9"))

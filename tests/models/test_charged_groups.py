"""Where charged groups may be, against conformations whose torsions are set."""

import numpy as np
import openmm
import pytest
import torch
from rdkit import Chem
from rdkit.Chem import rdMolTransforms

from openmm_confgf.energies import system_source
from openmm_confgf.generators.boltzmann.inputs import placement_batch
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.models.charged_groups import group_charges
from openmm_confgf.models.local_frames import local_frames
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.peptides import peptide
from openmm_confgf.molecules.placement import Placement

PEPTIDES = "amber14-all.xml,implicit/obc1.xml"


def placement_and_batch(graph, system=None):
    placement = Placement.of(graph)
    return placement, placement_batch(graph, placement, system or openmm.System(), 300.0)


@pytest.mark.parametrize(
    "smiles, wanted",
    [
        ("CC(=O)[O-]", {1: -1}),
        ("C[NH3+]", {1: 1}),
        ("C[N+](C)(C)CC(=O)[O-]", {1: 1, 5: -1}),
        ("CNC(N)=[NH2+]", {2: 1}),
        ("COP(=O)([O-])[O-]", {2: -2}),
        ("Cc1c[nH]c[nH+]1", {4: 1}),
        ("Cc1c[nH+]c[nH]1", {4: 1}),
        ("c1cc[nH+]cc1", {3: 1}),
        ("[O-][N+](=O)c1ccccc1", {}),
        ("[O-][n+]1ccccc1", {}),
        ("CCO", {}),
    ],
)
def test_groups_are_where_charges_are_shared(smiles, wanted):
    placement, batch = placement_and_batch(MolecularGraph.from_smiles(smiles))
    assert {int(placement.order[k]): charge for k, charge in group_charges(batch).items()} == wanted


@pytest.mark.parametrize(
    "molecule, count",
    [
        ("KS", 14),
        ("RD", 20),
        ("DE", 15),
        ("PE", 5),
        ("[NH3+]CCNC(=O)CC(=O)[O-]", 4),
        ("[NH3+]CCNC(=O)/C=C\\C(=O)[O-]", 4),
        ("[NH3+]CCNC(=O)/C=C/C(=O)[O-]", 4),
        ("[O-]C(=O)CCc1cccc2cccc(CC[NH3+])c12", 4),
        ("[O-]C(=O)CCc1ccccc1CC[NH3+]", 4),
    ],
)
def test_places_are_where_torsions_bring_the_groups(molecule, count):
    """Conformers whose torsions are set to those that are looked at: one of the places is near, though nothing but torsions was told."""
    graph = peptide(molecule) if molecule.isupper() and molecule.isalpha() else MolecularGraph.from_smiles(molecule)
    system = system_source(PEPTIDES).build(graph) if molecule.isalpha() else openmm.System()
    placement, batch = placement_and_batch(graph, system)
    rng, bonds = np.random.default_rng(0), rotatable(graph)
    conformers = []
    for start in embed_etkdg(graph, 12, 0).positions:
        mol = Chem.Mol(graph.mol)
        conformer = mol.GetConformer(mol.AddConformer(Chem.Conformer(len(graph)), assignId=True))
        conformer.SetPositions(10 * start.astype(np.float64))
        for a, b, c, d in bonds:
            few = 6 if any(graph.mol.GetAtomWithIdx(x).GetHybridization() == Chem.HybridizationType.SP2 for x in (b, c)) else 3
            rdMolTransforms.SetDihedralDeg(conformer, a, b, c, d, 360 / few * (rng.integers(few) + 0.5))
        conformers.append(conformer.GetPositions() / 10)
    positions = placement.relabelled(torch.tensor(np.array(conformers)), hands=True)
    placed, turns = positions[:, placement.order.tolist()], placement.coordinates(positions)[..., 2]
    farthest = []
    for k, found in batch.meetings.items():
        origin, axes = (x[:, 0] for x in local_frames(batch, placed, slice(k, k + 1)))
        for meeting in found:
            there = origin[:, None] + rotated(meeting.turning, turns[:, k]) @ axes.mT
            farthest.append(nearest(there, placed[:, meeting.group]))
            if meeting.frame == (meeting.other,) * 3:
                assert not meeting.resting.any() and meeting.other < k
            else:
                assert max(meeting.frame) < k
                farthest.append(nearest(at_frame(placed[:, meeting.frame], meeting.resting), placed[:, meeting.other]))
    # places of one torsion are 0.24 nm and more apart; RDKit's angles and peptide bonds are not those of the force field
    assert torch.stack(farthest).mean() < 0.03 and torch.stack(farthest).max() < 0.15
    assert len(farthest) >= count


def nearest(places, position):
    """Of each conformer (B,), from places (B, M, 3)."""
    return torch.linalg.vector_norm(places - position[:, None], dim=-1).amin(1)


def rotatable(graph):
    pattern = Chem.MolFromSmarts("[!$(*#*)&!D1]-&!@[!$(*#*)&!D1]")
    found = []
    for b, c in graph.mol.GetSubstructMatches(pattern):
        if not graph.mol.GetBondBetweenAtoms(b, c).GetIsConjugated():
            ends = ([x.GetIdx() for x in graph.mol.GetAtomWithIdx(i).GetNeighbors() if x.GetIdx() != j] for i, j in ((b, c), (c, b)))
            a, d = (each[0] for each in ends)
            found.append((a, b, c, d))
    return found


def rotated(places, turns):
    """(B, M, 3) of (M, 3) about z."""
    cosine, sine = turns.cos()[:, None], turns.sin()[:, None]
    x, y, z = places.unbind(-1)
    return torch.stack([x * cosine - y * sine, x * sine + y * cosine, z.expand(len(turns), -1)], -1)


def at_frame(frame, places):
    """Positions (B, M, 3) by the three atoms of a frame, (B, 3, 3)."""
    p, a, t = frame.unbind(1)
    z = (a - p) / torch.linalg.vector_norm(a - p, dim=-1, keepdim=True)
    y = torch.linalg.cross(t - a, z)
    y = y / torch.linalg.vector_norm(y, dim=-1, keepdim=True)
    x = torch.linalg.cross(z, y)
    return p[:, None] + places @ torch.stack([x, y, z], 1)


def test_far_groups_are_not_looked_for():
    """Behind so many torsions that there are more than a thousand places, but from where there are fewer on."""
    graph = MolecularGraph.from_smiles("[NH3+]" + 20 * "C" + "C(=O)[O-]")
    _, batch = placement_and_batch(graph)
    found = batch.meetings
    places = [len(where) for each in found.values() for meeting in each for where in (meeting.turning, meeting.resting)]
    assert max(places) == 729 and not all(found.values())

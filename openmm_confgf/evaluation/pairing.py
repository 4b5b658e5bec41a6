"""Which ensemble is to be held against which reference, with its atoms in that one's order."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from ..ensemble import Ensemble
from ..errors import ConfGFError, MoleculeError
from ..molecules.graph import MolecularGraph
from ..molecules.matching import atom_orders, skeleton

_MOST_MATCHES = 2000
"""Orders that are tried: only stereo, and bonds that resonance exchanges, prefer one."""


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Ensembles and their references.

    Attributes
    ----------
    pairs : list of (Ensemble, Ensemble)
        What is judged, in the atom order of its reference, and the reference.
    without_reference, without_samples : list of str
        Names of the molecules that are on one side only.
    """

    pairs: list[tuple[Ensemble, Ensemble]]
    without_reference: list[str]
    without_samples: list[str]


def in_order_of(ensemble: Ensemble, graph: MolecularGraph) -> Ensemble:
    """An ensemble with its atoms in another graph's order, which is found by bonds and stereo where it is not the same.

    Parameters
    ----------
    ensemble : Ensemble
    graph : MolecularGraph
        The same molecule.

    Returns
    -------
    Ensemble
        Of that graph. Hydrogens on one atom are taken in the order in which they come.

    Raises
    ------
    MoleculeError
        If they are different molecules, which stereoisomers are.
    """
    if ensemble.graph.same_as(graph):
        return ensemble
    order = _atom_order(ensemble.graph, graph) if ensemble.graph.smiles == graph.smiles else None
    if order is None:
        raise MoleculeError(
            f"{ensemble.graph.name!r} ({ensemble.graph.smiles}) and its reference {graph.name!r} ({graph.smiles}) are different molecules; "
            "give ensembles of one molecule and one stereoisomer."
        )
    return ensemble.replace(graph=graph, positions=ensemble.positions[:, order])


def _atom_order(given: MolecularGraph, wanted: MolecularGraph) -> NDArray[np.int64] | None:
    """The atom of the given molecule, (N,), that each atom of the wanted one is."""
    ours, theirs = (skeleton(graph.bonds, graph.numbers, graph.numbers) for graph in (wanted, given))
    for order in itertools.islice(atom_orders(ours, theirs), _MOST_MATCHES):
        if MolecularGraph.from_rdkit(Chem.RenumberAtoms(given.mol, order.tolist()), given.name).same_as(wanted):
            return order
    return None


def paired(ensembles: Sequence[Ensemble], references: Sequence[Ensemble]) -> Pairs:
    """Each ensemble with the reference of the same molecule.

    Parameters
    ----------
    ensembles : sequence of Ensemble
        Those of one molecule and one atom order are one ensemble.
    references : sequence of Ensemble
        One of each molecule.

    Returns
    -------
    Pairs

    Raises
    ------
    MoleculeError
        If no molecule is on both sides, or one is twice on one side.
    """
    if len(ensembles) == len(references) == 1:
        return Pairs([(in_order_of(ensembles[0], references[0].graph), references[0])], [], [])
    ours, theirs = _by_molecule(ensembles), _by_molecule(references)
    pairs = [(in_order_of(ensemble, theirs[smiles].graph), theirs[smiles]) for smiles, ensemble in ours.items() if smiles in theirs]
    if not pairs:
        raise MoleculeError(f"None of {len(ours)} molecules has a reference among {len(theirs)}; give ensembles of the same molecules.")
    return Pairs(
        pairs,
        [ensemble.graph.name for smiles, ensemble in ours.items() if smiles not in theirs],
        [reference.graph.name for smiles, reference in theirs.items() if smiles not in ours],
    )


def _by_molecule(ensembles: Sequence[Ensemble]) -> dict[str, Ensemble]:
    found: dict[str, Ensemble] = {}
    for ensemble in ensembles:
        if ensemble.graph.smiles in found:
            raise ConfGFError(
                f"{ensemble.graph.name!r} comes twice in one file, with other records between or in two atom orders; "
                "put its conformations one after the other, in one order of atoms."
            )
        found[ensemble.graph.smiles] = ensemble
    return found

"""Which atoms of a Topology are a molecule, in the molecule's own order; and a molecule that a periodic box cut, in one piece."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import networkx
import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from ..errors import MoleculeError
from ..molecules.checks import stereo_against_specified
from ..molecules.graph import MolecularGraph
from ..molecules.matching import atom_orders, skeleton

_MOST_MATCHES = 2000
"""Orders of one fragment that are tried: only stereo prefers one."""

_MOST_SHOWN = 12


def molecule_atoms(
    topology: app.Topology, graph: MolecularGraph, positions: NDArray[np.float64], *, among: Sequence[int] | None = None
) -> NDArray[np.int64]:
    """The atom of a Topology that each atom of a molecule is, found by elements, bonds and stereo.

    Atoms that have the molecule's own order keep it. Bond orders and charges are not compared, since few Topologies tell them.

    Parameters
    ----------
    topology : openmm.app.Topology
        With bonds. Extra particles (those without an element) are left out.
    graph : MolecularGraph
    positions : ndarray of float64, (P, 3)
        Of all particles of the Topology, in nm: they tell stereo. Where they are not finite, the stereo is not looked at.
    among : sequence of int, optional
        Atoms of the Topology that are considered; all by default.

    Returns
    -------
    ndarray of int64, (N,)

    Raises
    ------
    MoleculeError
        If no molecule of the Topology is this one, or several are.
    """
    numbers, bonds = _numbers(topology), _bonds(topology)
    wanted = np.sort(graph.numbers)
    candidates = [part for part in _fragments(numbers, bonds, among) if np.array_equal(np.sort(numbers[part]), wanted)]
    matching = [part for part in candidates if next(_orders(graph, numbers, bonds, part), None) is not None]
    if not matching:
        raise MoleculeError(
            f"No molecule of the Topology is {graph.name!r}: its atoms are {_shown(_symbols(graph.numbers))}, those of the Topology "
            f"{_shown(_symbols(numbers[_considered(numbers, among)]))}; give the molecule that is simulated, or a Topology with its bonds."
        )
    box = _box(topology)
    tried = (itertools.islice(_orders(graph, numbers, bonds, part), _MOST_MATCHES) for part in matching)
    right = [order for orders in tried if (order := _with_right_stereo(graph, orders, positions, box)) is not None]
    if not right:
        raise MoleculeError(f"The Topology's molecule is another stereoisomer of {graph.smiles}; give that one.")
    if len(right) > 1:
        raise MoleculeError(f"The Topology has {len(right)} molecules {graph.name!r}; say by their indices which atoms are the one meant.")
    return right[0]


def particles_besides(system: openmm.System, atoms: NDArray[np.int64]) -> int:
    """How many particles of a System move on their own and are none of a molecule's: other molecules', or Drude particles.

    Parameters
    ----------
    system : openmm.System
    atoms : ndarray of int64, (N,)
        The molecule's.
    """
    own = set(atoms.tolist())
    return sum(k not in own and not system.isVirtualSite(k) for k in range(system.getNumParticles()))


def molecule_of(topology: app.Topology, positions: NDArray[np.float64], among: Sequence[int] | None = None) -> MolecularGraph:
    """The molecule that atoms of a Topology are, in their order, which `molecule_atoms` finds there again.

    Parameters
    ----------
    topology : openmm.app.Topology
    positions : ndarray of float64, (P, 3)
        Of all its particles, in nm.
    among : sequence of int, optional
        The atoms; by default all that have an element.

    Raises
    ------
    MoleculeError
        If they are not one complete molecule, as `MolecularGraph.from_topology`.
    """
    numbers, bonds = _numbers(topology), _bonds(topology)
    chosen = set(_considered(numbers, among).tolist())
    if bonds and len(found := _fragments(numbers, bonds, among)) > 1:
        raise MoleculeError(f"The atoms of the Topology are {len(found)} molecules; give the one that is meant, or its atoms' indices.")
    part = app.Modeller(topology, positions * unit.nanometer)
    part.delete([atom for atom in topology.atoms() if atom.index not in chosen])
    return MolecularGraph.from_topology(part.topology, part.positions)


def made_whole(frame: NDArray[np.float64], bonds: Iterable[Sequence[int]], box: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """A molecule in one piece: each atom at the image that is nearest to the one it is bonded to, from the first atom on.

    Parameters
    ----------
    frame : ndarray of float64, (N, 3)
        nm.
    bonds : iterable of (int, int)
        That connect all atoms.
    box : ndarray of float64, (3, 3), optional
        OpenMM's box vectors in nm, in their reduced form; None where there is no box, and nothing to be done.

    Examples
    --------
    >>> made_whole(np.array([[0.05, 0, 0], [1.95, 0, 0]]), [(0, 1)], 2 * np.eye(3)).round(9).tolist()
    [[0.05, 0.0, 0.0], [-0.05, 0.0, 0.0]]
    """
    whole = np.array(frame, np.float64)
    if box is not None and np.isfinite(whole).all():
        for parent, child in networkx.bfs_edges(networkx.Graph([(int(i), int(j)) for i, j in bonds]), 0) if len(whole) > 1 else ():
            whole[child] = whole[parent] + nearest_image(whole[child] - whole[parent], box)
    return whole


def nearest_image(vector: NDArray[np.float64], box: NDArray[np.float64]) -> NDArray[np.float64]:
    """The shortest of the images of vectors, as OpenMM takes it (User Guide, "Periodic Boundary Conditions").

    Parameters
    ----------
    vector : ndarray of float64, (..., 3)
        nm.
    box : ndarray of float64, (3, 3)
        Reduced: a lies along x, b in the plane of x and y.
    """
    shortest = np.array(vector, np.float64)
    for k in (2, 1, 0):
        shortest -= np.rint(shortest[..., k : k + 1] / box[k, k]) * box[k]
    return shortest


def _numbers(topology: app.Topology) -> NDArray[np.int64]:
    """Atomic numbers of all particles, (P,); 0 for extra ones."""
    return np.array([0 if atom.element is None else atom.element.atomic_number for atom in topology.atoms()], np.int64)


def _bonds(topology: app.Topology) -> list[tuple[int, int]]:
    return [(bond[0].index, bond[1].index) for bond in topology.bonds()]


def _box(topology: app.Topology) -> NDArray[np.float64] | None:
    vectors = topology.getPeriodicBoxVectors()
    return None if vectors is None else np.array(vectors.value_in_unit(unit.nanometer))


def _considered(numbers: NDArray[np.int64], among: Sequence[int] | None) -> NDArray[np.int64]:
    """The atoms that may be the molecule's, in increasing order.

    Raises
    ------
    MoleculeError
        If an index is none of an atom.
    """
    atoms = np.flatnonzero(numbers)
    if among is None:
        return atoms
    chosen = np.unique(np.asarray(among, np.int64))
    if not len(chosen) or not np.isin(chosen, atoms).all():
        raise MoleculeError(f"The atoms are not all among those of the Topology, which has {len(atoms)}; give their indices from 0.")
    return chosen


def _fragments(numbers: NDArray[np.int64], bonds: list[tuple[int, int]], among: Sequence[int] | None) -> list[NDArray[np.int64]]:
    connected = networkx.Graph()
    connected.add_nodes_from(_considered(numbers, among).tolist())
    connected.add_edges_from((i, j) for i, j in bonds if i in connected and j in connected)
    return [np.array(sorted(part), np.int64) for part in networkx.connected_components(connected)]


def _orders(
    graph: MolecularGraph, numbers: NDArray[np.int64], bonds: list[tuple[int, int]], fragment: NDArray[np.int64]
) -> Iterator[NDArray[np.int64]]:
    """The ways in which a fragment is the molecule, (N,) each; its own order first, where that is one."""
    place = {int(atom): k for k, atom in enumerate(fragment)}
    inside = [(place[i], place[j]) for i, j in bonds if i in place and j in place]
    theirs = numbers[fragment]
    if (theirs == graph.numbers).all() and {frozenset(bond) for bond in inside} == {frozenset(bond) for bond in graph.bonds.tolist()}:
        yield fragment
    other = skeleton(np.array(inside, np.int64).reshape(-1, 2), theirs, theirs)
    yield from (fragment[order] for order in atom_orders(skeleton(graph.bonds, graph.numbers, graph.numbers), other))


def _with_right_stereo(
    graph: MolecularGraph, orders: Iterable[NDArray[np.int64]], positions: NDArray[np.float64], box: NDArray[np.float64] | None
) -> NDArray[np.int64] | None:
    """The first of the orders in which the positions have the stereo that the molecule specifies."""
    for order in orders:
        frame = made_whole(positions[order], graph.bonds.tolist(), box)
        if not np.isfinite(frame).all():
            return order
        hands, sides = stereo_against_specified(graph, frame[None])
        if (hands > 0).all() and sides.all():
            return order
    return None


def _symbols(numbers: NDArray[np.int64]) -> list[str]:
    return [app.Element.getByAtomicNumber(int(number)).symbol for number in numbers[: _MOST_SHOWN + 1]]


def _shown(symbols: list[str]) -> str:
    return " ".join(symbols[:_MOST_SHOWN]) + (" ..." if len(symbols) > _MOST_SHOWN else "")

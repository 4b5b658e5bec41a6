"""What the page's viewer, table and plot show of an ensemble: its usable conformations, superposed, and a column for each value."""

from __future__ import annotations

import base64
import dataclasses
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem

from ..ensemble import TITLE, Ensemble
from ..molecules.geometry import dihedrals
from ..molecules.graph import MolecularGraph
from ..molecules.superposition import aligned_positions
from ..plots.torsions import torsions_to_show
from ..thermodynamics.normalised import normalised_weights
from ..units import NM_PER_ANGSTROM
from .text import shortened

MOST_CONFORMATIONS = 500
"""Of one molecule that a page shows one by one."""

MOST_ATOMS = 100_000
"""Of all these conformations together: what a browser draws without waiting."""

MOST_TORSIONS = 8
"""That have a column."""


@dataclasses.dataclass(frozen=True)
class Column:
    """One value of each conformation that is shown.

    Attributes
    ----------
    key, title, unit : str
    values : list of float, int or str
        None where there is none.
    digits : int or None
        After the decimal point; None for texts.
    """

    key: str
    title: str
    unit: str
    values: list[Any]
    digits: int | None = 0


def explored(ensemble: Ensemble, log_weights: NDArray[np.float64] | None = None, most: int = MOST_CONFORMATIONS) -> dict[str, Any]:
    """An ensemble as the page's script takes it, in JSON's types.

    Parameters
    ----------
    ensemble : Ensemble
    log_weights : ndarray of float64, (B,), optional
        Of all its samples, as `Reweighted` has them.
    most : int
        Conformations; those of more are thinned, which ``thinned`` says in a sentence.

    Returns
    -------
    dict
        ``coordinates`` are float32 of little-endian order in base64, (n, N, 3), in Angstrom; of each bond there are its two atoms, from 0,
        and its order.
    """
    weights = None if log_weights is None else normalised_weights(log_weights)
    ranked, by = order_of(ensemble, weights)
    most = max(1, min(most, MOST_ATOMS // len(ensemble.graph)))
    rows = ranked if len(ranked) <= most else ranked[np.linspace(0, len(ranked) - 1, most).round().astype(np.int64)]
    shown = ensemble.select(rows)
    columns = columns_of(shown, rows, None if weights is None else weights[rows])
    keys = [column.key for column in columns if column.digits is not None]
    colour = "weight" if weights is not None else "energy" if "energy" in keys else "number"
    torsions = [key for key in keys if key.startswith("torsion")]
    first = torsions[0] if torsions else "weight" if weights is not None else "number"
    second = "energy" if "energy" in keys else torsions[1] if len(torsions) > 1 else keys[0]
    return {
        "name": shortened(ensemble.graph.name),
        "smiles": shortened(ensemble.graph.smiles, 400),
        "elements": [atom.GetSymbol() for atom in ensemble.graph.mol.GetAtoms()],
        "bonds": bonds_with_orders(ensemble.graph),
        "coordinates": as_base64(aligned_positions(shown.graph, shown.positions) / NM_PER_ANGSTROM) if len(rows) else "",
        "count": len(rows),
        "columns": [dataclasses.asdict(column) for column in columns],
        "axes": [first, second],
        "colour": colour,
        "thinned": thinning_text(len(ranked), len(rows), by),
    }


def order_of(ensemble: Ensemble, weights: NDArray[np.float64] | None) -> tuple[NDArray[np.int64], str]:
    """The usable samples in the order in which they are shown: by weight, the heaviest first, else by energy, else in their own order.

    Parameters
    ----------
    ensemble : Ensemble
    weights : ndarray of float64, (B,), optional

    Returns
    -------
    rows : ndarray of int64, (U,)
    by : str
        ``"weight"``, ``"energy"`` or ``"number"``.
    """
    usable = np.flatnonzero(ensemble.ok)
    if weights is not None:
        return usable[np.argsort(-weights[usable], kind="stable")], "weight"
    if ensemble.energy is not None:
        return usable[np.argsort(ensemble.energy[usable], kind="stable")], "energy"
    return usable, "number"


def columns_of(shown: Ensemble, rows: NDArray[np.int64], weights: NDArray[np.float64] | None) -> list[Column]:
    """What is known of each conformation.

    Parameters
    ----------
    shown : Ensemble
    rows : ndarray of int64, (n,)
        Their places in the input, from 0.
    weights : ndarray of float64, (n,), optional
        Shares of all weight.
    """
    columns = [Column("number", "conformation", "", [int(row) + 1 for row in rows])]
    titles = [shortened(one.get(TITLE, "")) for one in shown.properties or ()]
    if len(set(titles)) > 1:
        columns.append(Column("title", "title", "", titles, None))
    if shown.energy is not None and len(rows):
        columns.append(Column("energy", "energy above the lowest", "kJ/mol", known(shown.energy - shown.energy.min()), 2))
    if weights is not None:
        columns.append(Column("weight", "weight", "% of all", known(100 * weights), 4))
    if shown.log_q is not None:
        columns.append(Column("log_q", "log q", "nats", known(shown.log_q), 2))
    torsions = dict(list(torsions_to_show(shown.graph).items())[:MOST_TORSIONS])
    if torsions and len(rows):
        quadruples = torch.from_numpy(np.array(list(torsions.values())))
        angles = np.degrees(dihedrals(torch.tensor(shown.positions), quadruples).numpy())
        columns += [Column(f"torsion{k}", name, "°", known(angles[:, k]), 0) for k, name in enumerate(torsions)]
    return columns


def known(values: NDArray[np.float64]) -> list[float | None]:
    """Numbers to six digits, None for those that are not finite: JSON has none.

    Parameters
    ----------
    values : ndarray, (n,)
        Of any unit.
    """
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values.tolist()]


def bonds_with_orders(graph: MolecularGraph) -> list[list[int]]:
    """First and second atom, from 0, and order of each bond, with single and double bonds in turn where it is aromatic.

    Parameters
    ----------
    graph : MolecularGraph
    """
    mol = Chem.Mol(graph.mol)
    Chem.Kekulize(mol, clearAromaticFlags=True)
    return [[bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), max(1, round(bond.GetBondTypeAsDouble()))] for bond in mol.GetBonds()]


def as_base64(positions: NDArray[np.float64]) -> str:
    """Positions as float32 of little-endian order in base64.

    Parameters
    ----------
    positions : ndarray, (n, N, 3)
        Of any unit.
    """
    return base64.b64encode(np.ascontiguousarray(positions, "<f4").tobytes()).decode()


def thinning_text(usable: int, shown: int, by: str) -> str:
    """What was left out of the viewer, in a sentence; empty where nothing was.

    Parameters
    ----------
    usable, shown : int
    by : str
        As of `order_of`.
    """
    if shown == usable:
        return ""
    order = {"weight": "ordered by weight, the heaviest included", "energy": "ordered by energy, the lowest included"}
    every = f"{shown:,} of {usable:,} usable conformations are shown one by one here, evenly spaced"
    return f"{every} in the list {order[by]}." if by in order else f"{every} in the order of the file."

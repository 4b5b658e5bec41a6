"""What notebooks show of conformations: a table beside the formula, and a view in three dimensions (py3Dmol)."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import to_hex
from numpy.typing import NDArray
from rdkit import Chem

from ..errors import ConfGFError
from ..tables import Column, Table
from .colours import energy_colours
from .depiction import depiction_svg
from .graph import MolecularGraph
from .superposition import aligned_positions

_SIZE = 640, 420


def conformations_view(graph: MolecularGraph, positions: NDArray[np.float64], energy: NDArray[np.float64] | None = None) -> Any:
    """Conformations superposed: the first as balls and sticks, the others as lines, dark where their energy is high.

    Parameters
    ----------
    graph : MolecularGraph
    positions : ndarray of float64, (B, N, 3)
        nm.
    energy : ndarray of float64, (B,), optional
        kJ/mol, finite.

    Returns
    -------
    py3Dmol.view
        A notebook shows it where it stands last in a cell; its 3Dmol.js comes from the internet.

    Raises
    ------
    ConfGFError
        If py3Dmol is not installed, or there is no conformation.
    """
    try:
        import py3Dmol
    except ImportError as error:
        raise ConfGFError("Conformations are viewed with py3Dmol, which is not installed: pip install py3Dmol.") from error
    if not len(positions):
        raise ConfGFError(f"There is no usable conformation of {graph.name!r} to view; generate some, or look at their statuses.")
    mol = graph.to_rdkit(aligned_positions(graph, positions))
    mol.SetProp("_Name", "")  # the name would stand in the page's script
    above = np.zeros(len(positions)) if energy is None else energy - energy.min()
    colours = [to_hex(colour) for colour in energy_colours(above, float(above.max()))]
    viewer = py3Dmol.view(width=_SIZE[0], height=_SIZE[1])
    for k, colour in enumerate(colours):
        viewer.addModel(Chem.MolToMolBlock(mol, confId=k), "sdf", {"keepH": True})
        first = {"stick": {"radius": 0.13, "colorscheme": "Jmol"}, "sphere": {"scale": 0.22, "colorscheme": "Jmol"}}
        viewer.setStyle({"model": k}, first if k == 0 else {"line": {"color": colour}})
    viewer.zoomTo()
    return viewer


def molecule_html(graph: MolecularGraph, rows: Sequence[tuple[str, str]]) -> str:
    """The formula, and beside it a table of what is to be said, as HTML in which names show as they are.

    Parameters
    ----------
    graph : MolecularGraph
    rows : sequence of (str, str)
        A name and a value each.
    """
    image = base64.b64encode(depiction_svg(graph).encode()).decode()
    table = Table([Column("", align="left"), Column("", align="left")], rows).to_html()
    return (
        '<div style="display: flex; gap: 1.5em; align-items: center">'
        f'<img alt="formula" src="data:image/svg+xml;base64,{image}">{table}</div>'
    )

"""A molecule as a drawing of its formula."""

from __future__ import annotations

from rdkit import Chem
from rdkit.Chem import rdDepictor
from rdkit.Chem.Draw import rdMolDraw2D

from .graph import MolecularGraph


def depiction_svg(graph: MolecularGraph, width: int = 150, height: int = 110) -> str:
    """The formula without its hydrogens on carbon, as SVG on a transparent ground. No name is in it.

    Parameters
    ----------
    graph : MolecularGraph
    width, height : int
        Pixels.

    Examples
    --------
    >>> depiction_svg(MolecularGraph.from_smiles("CCO")).startswith("<?xml")
    True
    """
    mol = Chem.RemoveHs(graph.mol)
    mol.RemoveAllConformers()
    rdDepictor.Compute2DCoords(mol)
    canvas = rdMolDraw2D.MolDraw2DSVG(width, height)
    options = canvas.drawOptions()
    options.clearBackground = False  # type: ignore[assignment]  # the stubs of RDKit are wrong
    options.padding = 0.08  # type: ignore[assignment]  # as above
    rdMolDraw2D.PrepareAndDrawMolecule(canvas, mol)
    canvas.FinishDrawing()
    return str(canvas.GetDrawingText())

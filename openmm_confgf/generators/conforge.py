"""CONFORGE of CDPKit: the knowledge-based generator that others are measured by, for those who have it installed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase

from ..ensemble import Ensemble, Provenance
from ..errors import ConfGFError, GenerationError
from ..molecules.checks import check_conformations
from ..molecules.graph import MolecularGraph
from ..molecules.stereoisomers import stereo_settings
from ..status import Status
from ..units import NM_PER_ANGSTROM
from ..version import __version__
from .base import Generator, check_request

_MOST_RELABELLINGS = 1000
"""Ways to exchange equivalent atoms that are tried on a sample."""


class ConforgeGenerator(Generator):
    """CONFORGE (Seidel, Permann, Wieder, Kohlbacher & Langer 2023) with the settings of its preset LARGE_SET_DENSE.

    At most 20 kcal/mol above the lowest, at least 0.3 Angstrom apart; elements that its force field has no parameters for are not refused.

    It is deterministic: the seed makes no difference. It picks its `n` conformers for their diversity, so that the first samples of a
    larger `n` need not be those of a smaller one, and it often finds fewer. The rows beyond those repeat them in their order, which
    costs it neither recall nor precision. ``diagnostics["distinct"]`` tells how many there are; `Ensemble.deduplicated` drops
    the repeats. Macrocycles may take minutes each.

    CONFORGE does not tell the two arms of a symmetric ring apart, so it may give a pseudo-asymmetric centre the label of its mirror image
    although the shape is right. Equivalent atoms are exchanged until every label is as specified; no atom moves.

    Raises
    ------
    ConfGFError
        If CDPKit is not installed.
    """

    name = "conforge"

    def __init__(self) -> None:
        try:
            import CDPL
            import CDPL.Chem
            import CDPL.ConfGen
        except ImportError as error:
            raise ConfGFError("The generator 'conforge' needs CDPKit; pip install cdpkit, or use --generator etkdg+mmff.") from error
        self._cdpl = CDPL

    def sample_many(
        self, molecules: Sequence[MolecularGraph], n: int | Sequence[int], *, seed: int = 0, device: str = "auto"
    ) -> Iterator[tuple[int, Ensemble | ConfGFError]]:
        """As `Generator.sample_many`, in the order of the molecules. The device makes no difference: CONFORGE runs on the CPU."""
        return self._sample_each(molecules, check_request(molecules, n, seed))

    def _sample_each(self, molecules: Sequence[MolecularGraph], counts: list[int]) -> Iterator[tuple[int, Ensemble | ConfGFError]]:
        for index, (graph, count) in enumerate(zip(molecules, counts, strict=True)):
            try:
                found = self._conformers(graph, count)
            except GenerationError as error:
                yield index, error
                continue
            positions = relabelled(graph, found)[np.arange(count) % len(found)]
            settings = {"cdpkit": self._cdpl.__version__, "preset": "LARGE_SET_DENSE"} | stereo_settings(graph)
            provenance = Provenance(self.name, __version__, settings=settings)
            status = check_conformations(graph, positions)
            yield index, Ensemble(graph, positions, provenance, status, diagnostics={"distinct": len(found)})

    def _conformers(self, graph: MolecularGraph, count: int) -> NDArray[np.float64]:
        """Up to `count` different conformers, lowest in energy first, in nm."""
        chem, confgen = self._cdpl.Chem, self._cdpl.ConfGen
        smiles, order = _smiles_with_hydrogens(graph)
        mol = chem.parseSMILES(smiles)
        confgen.prepareForConformerGeneration(mol)
        generator = confgen.ConformerGenerator()
        generator.settings.assign(confgen.ConformerGeneratorSettings.LARGE_SET_DENSE)
        generator.settings.maxNumOutputConformers = count
        # boron, silicon and hypervalent sulfur are refused otherwise: MMFF94 has no parameters for them
        generator.settings.strictForceFieldParam = False
        generator.settings.fragmentBuildSettings.strictForceFieldParam = False
        code = generator.generate(mol)
        if not generator.numConformers:
            names = [name for name in dir(confgen.ReturnCode) if name.isupper() and getattr(confgen.ReturnCode, name) == code]
            raise GenerationError(f"CONFORGE cannot embed {graph.name!r} ({', '.join(names) or code}); use --generator etkdg.")
        conformers = [generator.getConformer(k) for k in range(generator.numConformers)]
        positions = np.empty((len(conformers), len(graph), 3))
        positions[:, order] = [[list(vector) for vector in conformer] for conformer in conformers]
        return positions * NM_PER_ANGSTROM


def relabelled(graph: MolecularGraph, positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same shapes with equivalent atoms exchanged where only that makes a sample the specified stereoisomer.

    Parameters
    ----------
    graph : MolecularGraph
    positions : ndarray of float64, (B, N, 3)
        nm.

    Returns
    -------
    ndarray of float64, (B, N, 3)
        Samples that are right, and those that no exchange makes right, stay as they are.
    """
    wrong = np.flatnonzero(check_conformations(graph, positions) == Status.WRONG_STEREO)
    if not len(wrong):
        return positions
    positions = positions.copy()
    for exchange in _exchanges_of_equivalent_atoms(graph):
        right = check_conformations(graph, positions[wrong][:, exchange]) == Status.OK
        positions[wrong[right]] = positions[wrong[right]][:, exchange]
        wrong = wrong[~right]
        if not len(wrong):
            break
    return positions


def _exchanges_of_equivalent_atoms(graph: MolecularGraph) -> Iterator[NDArray[np.int64]]:
    """Permutations of atoms that keep every element, charge and bond, hands aside; the hydrogens of an atom go with it, in their order."""
    mol = Chem.Mol(graph.mol)
    for atom in mol.GetAtoms():
        atom.SetIntProp("_index_in_graph", atom.GetIdx())
    with rdBase.BlockLogs():
        skeleton = Chem.RemoveHs(mol)
    kept = [atom.GetIntProp("_index_in_graph") for atom in skeleton.GetAtoms()]
    hydrogens = {i: [a.GetIdx() for a in mol.GetAtomWithIdx(i).GetNeighbors() if a.GetIdx() not in set(kept)] for i in kept}
    for match in skeleton.GetSubstructMatches(skeleton, uniquify=False, useChirality=False, maxMatches=_MOST_RELABELLINGS):
        pairs = [(kept[i], kept[j]) for i, j in enumerate(match)]
        if any(len(hydrogens[i]) != len(hydrogens[j]) for i, j in pairs):
            continue
        exchange = np.arange(len(graph))
        for i, j in pairs:
            exchange[[i, *hydrogens[i]]] = [j, *hydrogens[j]]
        yield exchange


def _smiles_with_hydrogens(graph: MolecularGraph) -> tuple[str, list[int]]:
    """A SMILES of all atoms without aromatic ones, which CDPKit may see otherwise, and the index in the graph of each atom in it."""
    mol: Any = Chem.Mol(graph.mol)
    Chem.Kekulize(mol, clearAromaticFlags=True)
    smiles = Chem.MolToSmiles(mol, canonical=False, kekuleSmiles=True)
    return smiles, list(mol.GetPropsAsDict(True, True)["_smilesAtomOutputOrder"])

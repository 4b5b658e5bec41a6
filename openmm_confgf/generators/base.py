"""Generator: the one interface of everything that yields conformations, and what all of them do with a request."""

from __future__ import annotations

import abc
import hashlib
import operator
from collections.abc import Iterator, Sequence

import numpy as np

from ..devices import Device, device_name
from ..ensemble import Ensemble
from ..errors import ConfGFError
from ..molecule_like import MoleculeLike, as_graph
from ..molecules.graph import MolecularGraph
from .memory import check_memory


class Generator(abc.ABC):
    """Yields conformations of molecules.

    The same seed, device and version give the same samples, whatever the other molecules of the call are, and the first samples of a
    larger `n` are those of a smaller one.

    Attributes
    ----------
    name : str
        As in tables and in `Provenance.generator`.
    weights_sha256 : str or None
        Checksum of the network's weights, where there is one.
    """

    name: str
    weights_sha256: str | None = None

    def sample(self, molecule: MoleculeLike, n: int, *, seed: int = 0, device: Device = "auto") -> Ensemble:
        """Conformations of one molecule.

        Parameters
        ----------
        molecule : str, rdkit.Chem.Mol, openff.toolkit.Molecule, openmm.app.Topology or MolecularGraph
            A SMILES, or what else `as_graph` takes.
        n : int
            How many conformations; the ensemble has exactly that many rows, bad samples included.
        seed : int
            At least 0.
        device : str, int or torch.device
            ``"auto"``, ``"cpu"``, ``"cuda"``, or ``"cuda:1"`` or 1 for the second CUDA device.

        Raises
        ------
        MoleculeError
            If it is not one complete molecule, or the generator cannot take it (UnsupportedMoleculeError).
        GenerationError
            If nothing can be generated.
        ConfGFError
            If `n` or the seed is out of range.
        """
        for _, result in self.sample_many([as_graph(molecule)], n, seed=seed, device=device_name(device)):
            if isinstance(result, ConfGFError):
                raise result
            return result
        raise AssertionError("sample_many yields each molecule once")

    @abc.abstractmethod
    def sample_many(
        self, molecules: Sequence[MolecularGraph], n: int | Sequence[int], *, seed: int = 0, device: str = "auto"
    ) -> Iterator[tuple[int, Ensemble | ConfGFError]]:
        """Conformations of many molecules: each molecule's index and result once, as they finish.

        What is wrong with the call is raised by the call; what is wrong with one molecule is its result.

        Parameters
        ----------
        molecules : sequence of MolecularGraph
        n : int or sequence of int
            How many conformations of each.
        seed, device
            As in `sample`.

        Raises
        ------
        ConfGFError
            If `n` or the seed is out of range.
        """

    def calls(self, graph: MolecularGraph) -> int:
        """Network calls per conformation of a molecule; 0 where there is no network.

        Parameters
        ----------
        graph : MolecularGraph
        """
        return 0

    def trained_on(self, graph: MolecularGraph) -> bool:
        """Whether the molecule is in the training data of the generator's weights; never where there are none.

        Parameters
        ----------
        graph : MolecularGraph
        """
        return False


def check_request(molecules: Sequence[MolecularGraph], n: int | Sequence[int], seed: int) -> list[int]:
    """The number of conformations of each molecule, once the request is known to be sound.

    Parameters
    ----------
    molecules : sequence of MolecularGraph, (M,)
    n : int or sequence of int, (M,)
        How many conformations of each.
    seed : int
        At least 0.

    Returns
    -------
    list of int, (M,)

    Raises
    ------
    ConfGFError
        If a count is below 1 or beyond the memory, there is not one for each molecule, or the seed is negative.
    TypeError
        If a count or the seed is no integer.
    """
    counts = list(n) if isinstance(n, Sequence) else [n] * len(molecules)
    if len(counts) != len(molecules):
        raise ConfGFError(f"{len(counts)} counts were given for {len(molecules)} molecules; give one count each, or one for all.")
    counts = [operator.index(count) for count in counts]
    if any(count < 1 for count in counts):
        raise ConfGFError(f"{min(counts)} conformations were asked for; ask for at least 1.")
    if operator.index(seed) < 0:
        raise ConfGFError(f"The seed is {seed}; give one of at least 0.")
    check_memory(molecules, counts)
    return counts


def sample_stream(graph: MolecularGraph, seed: int, k: int, attempt: int = 0) -> np.random.Generator:
    """The random stream of sample k: it depends on the molecule, the seed, k and the attempt, and on no other sample.

    Parameters
    ----------
    graph : MolecularGraph
        Its SMILES counts, its name does not.
    seed, k : int
        At least 0.
    attempt : int
        Its number, 0 for the first.
    """
    identity = int(hashlib.sha256(graph.smiles.encode()).hexdigest()[:8], 16)
    return np.random.default_rng([seed, identity, k, attempt] if attempt else [seed, identity, k])

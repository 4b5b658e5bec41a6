"""What holds for every generator, as tests that a generator of your own can be put through.

Subclass a suite in your tests, and give the generator as a fixture::

    class TestMyGenerator(GeneratorSuite):
        @pytest.fixture(scope="class")
        def generator(self):
            return MyGenerator()

Every test takes its generator as an argument, so that the suites run without pytest too.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch

from ..ensemble import Ensemble
from ..errors import ConfGFError, MoleculeError, PlatformError
from ..generators.base import Generator
from ..molecules.bond_windows import HOTTEST
from ..molecules.checks import check_conformations
from ..molecules.graph import MolecularGraph
from ..status import Status

_CHECKED = (Status.OK, Status.NON_FINITE, Status.WRONG_GRAPH, Status.WRONG_STEREO, Status.CLASH, Status.DISTORTED)
"""What `check_conformations` says; the other statuses are of minimisations and energies."""


class GeneratorSuite:
    """Tests of a `Generator`.

    Attributes
    ----------
    molecules : tuple of str
        SMILES of at least two molecules that the generator takes.
    refused : str or None
        SMILES of a molecule that it does not take, where there is one.
    n : int
        Samples of a molecule, at least 2.
    atol : float
        nm, by which positions may differ where the batch has another shape.
    temperature : float
        K, of `check_conformations` as the generator calls it.
    """

    molecules: tuple[str, ...] = ("CCO", "C[C@H](N)C(=O)O", "O")
    refused: str | None = None
    n: int = 3
    atol: float = 1e-5
    temperature: float = HOTTEST

    _made: ClassVar[weakref.WeakKeyDictionary[Generator, dict[type, list[Ensemble]]]] = weakref.WeakKeyDictionary()

    def test_the_same_seed_gives_the_same_samples(self, generator: Generator) -> None:
        """A second call with the same seed gives the same positions, bit for bit, and statuses."""
        for one, other in zip(self._ensembles(generator), self._sampled(generator), strict=True):
            assert_same(one, other, 0.0, f"{one.graph.name!r} with the same seed again")

    def test_samples_depend_on_no_other_molecule(self, generator: Generator) -> None:
        """A molecule's samples are the same alone and among others, to `atol`."""
        for ensemble in self._ensembles(generator):
            alone = generator.sample(ensemble.graph, self.n, seed=3, device="cpu")
            assert_same(alone, ensemble, self.atol, f"{ensemble.graph.name!r} alone and among others")

    def test_the_first_samples_do_not_depend_on_their_number(self, generator: Generator) -> None:
        """The first n - 1 of n samples are those of a call for n - 1, to `atol`."""
        for ensemble in self._ensembles(generator):
            fewer = generator.sample(ensemble.graph, self.n - 1, seed=3, device="cpu")
            assert_same(fewer, ensemble[: self.n - 1], self.atol, f"{self.n - 1} and {self.n} samples of {ensemble.graph.name!r}")

    def test_samples_differ_among_themselves_and_between_seeds(self, generator: Generator) -> None:
        """No finite sample of two seeds comes twice."""
        ensemble = self._ensembles(generator)[0]
        other = generator.sample(ensemble.graph, self.n, seed=4, device="cpu")
        everything = np.concatenate([ensemble.positions, other.positions]).reshape(2 * self.n, -1)
        assert len(np.unique(everything[np.isfinite(everything).all(1)], axis=0)) == np.isfinite(everything).all(1).sum(), (
            "samples repeat, within a call or with another seed"
        )

    def test_ensembles_have_a_row_for_each_sample_and_say_where_they_come_from(self, generator: Generator) -> None:
        """Positions (n, N, 3) in the molecule's atom order, statuses (n,), and the generator's name, seed and weights in `Provenance`."""
        for graph, ensemble in zip(self._graphs(), self._ensembles(generator), strict=True):
            assert ensemble.graph.same_as(graph), "the ensemble is of another molecule, or in another atom order"
            assert ensemble.positions.shape == (self.n, len(graph), 3), f"positions have shape {ensemble.positions.shape}"
            assert ensemble.status.shape == (self.n,), f"status has shape {ensemble.status.shape}"
            told = ensemble.provenance
            assert (told.generator, told.seed, told.weights_sha256) == (generator.name, 3, generator.weights_sha256), (
                f"{told} is not its own"
            )

    def test_statuses_are_those_of_check_conformations(self, generator: Generator) -> None:
        """A status that `check_conformations` can give is the one that it gives at `temperature`."""
        for ensemble in self._ensembles(generator):
            checked = np.isin(ensemble.status, _CHECKED)
            expected = check_conformations(ensemble.graph, ensemble.positions[checked], self.temperature)
            np.testing.assert_array_equal(ensemble.status[checked], expected, f"statuses of {ensemble.graph.name!r}")

    def test_each_molecule_comes_once_and_with_its_own_count(self, generator: Generator) -> None:
        """Of several molecules with counts of their own, each index comes once, with its molecule and as many samples."""
        graphs, counts = self._graphs(), [1 + k % 3 for k in range(len(self.molecules))]
        found = list(generator.sample_many(graphs, counts, seed=3, device="cpu"))
        assert sorted(index for index, _ in found) == list(range(len(graphs))), "an index is missing, or comes twice"
        for index, outcome in found:
            ensemble = _ensemble(outcome)
            assert ensemble.graph.same_as(graphs[index]), f"index {index} has the ensemble of another molecule"
            assert len(ensemble) == counts[index], f"{len(ensemble)} samples where {counts[index]} were asked for"

    def test_no_molecules_give_nothing(self, generator: Generator) -> None:
        """An empty list of molecules is no error."""
        assert list(generator.sample_many([], 3, device="cpu")) == []

    def test_a_molecule_that_it_refuses_costs_no_other(self, generator: Generator) -> None:
        """`refused` is a ConfGFError in its place, the same that `sample` raises; the other molecule's samples are as without it."""
        if self.refused is None:
            return
        refused, taken = MolecularGraph.from_smiles(self.refused), self._graphs()[0]
        found: dict[int, Ensemble | ConfGFError] = dict(generator.sample_many([refused, taken], self.n, seed=3, device="cpu"))
        assert isinstance(found[0], ConfGFError), f"{self.refused} is not refused"
        assert_same(_ensemble(found[1]), self._ensembles(generator)[0], self.atol, "beside a molecule that is refused")
        assert_raises(type(found[0]), lambda: generator.sample(refused, self.n, seed=3, device="cpu"))

    def test_bad_calls_are_refused_before_work_begins(self, generator: Generator) -> None:
        """Counts and seeds out of range, unknown devices and a SMILES that is none are raised by the call itself."""
        graphs = self._graphs()
        bad: list[tuple[int | list[int], int]] = [(0, 0), (-1, 0), ([1], 0), ([1] * (len(graphs) - 1) + [0], 0), (1, -1)]
        for n, seed in bad:
            assert_raises(ConfGFError, functools.partial(generator.sample_many, graphs, n, seed=seed, device="cpu"))
        assert_raises(PlatformError, lambda: generator.sample(graphs[0], 1, device="abacus"))
        assert_raises(MoleculeError, lambda: generator.sample("CC(", 1))

    def test_no_global_random_state_is_used(self, generator: Generator) -> None:
        """The global random numbers of NumPy and torch go on as if there had been no sampling."""
        drawn = []
        for sampling in (False, True):
            np.random.seed(1)  # noqa: NPY002 - that generators leave it alone is what is tested
            torch.manual_seed(1)
            if sampling:
                generator.sample(self._graphs()[0], 2, seed=3, device="cpu")
            drawn.append((np.random.random(), torch.rand(1).item()))  # noqa: NPY002
        assert drawn[0] == drawn[1], "the global random numbers of NumPy or torch were used"

    def _graphs(self) -> list[MolecularGraph]:
        return [MolecularGraph.from_smiles(smiles) for smiles in self.molecules]

    def _ensembles(self, generator: Generator) -> list[Ensemble]:
        """What a generator gave in the first of its tests, for those that only look at it."""
        made = self._made.setdefault(generator, {})
        if type(self) not in made:
            made[type(self)] = self._sampled(generator)
        return made[type(self)]

    def _sampled(self, generator: Generator) -> list[Ensemble]:
        found = dict(generator.sample_many(self._graphs(), self.n, seed=3, device="cpu"))
        return [_ensemble(found[index]) for index in range(len(self.molecules))]


def assert_same(one: Ensemble, other: Ensemble, atol: float, where: str) -> None:
    """Make sure that two ensembles have the same positions and statuses; NaN is the same as NaN.

    Parameters
    ----------
    one, other : Ensemble
    atol : float
        nm, by which coordinates may differ.
    where : str
        What is compared, for the message.

    Raises
    ------
    AssertionError
        If they differ.
    """
    np.testing.assert_allclose(one.positions, other.positions, rtol=0, atol=atol, err_msg=f"positions differ: {where}")
    np.testing.assert_array_equal(one.status, other.status, f"statuses differ: {where}")


def _ensemble(outcome: Ensemble | ConfGFError) -> Ensemble:
    if isinstance(outcome, ConfGFError):
        raise AssertionError(f"A molecule of the suite is refused: {outcome}") from outcome
    return outcome


def assert_raises(kind: type[Exception], call: Callable[[], Any]) -> None:
    """Make sure that a call raises an error of this kind that says something; other errors pass.

    Parameters
    ----------
    kind : type
        The error, or a parent of it.
    call : callable
        Without arguments.

    Raises
    ------
    AssertionError
        If it raises nothing, or an error without a message.
    """
    try:
        call()
    except kind as error:
        assert str(error).strip(), f"{type(error).__name__} says nothing"
    else:
        raise AssertionError(f"no {kind.__name__} where one is due")

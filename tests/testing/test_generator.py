"""That the suites of generators fail where a generator is wrong, each with the test that is there for it."""

import numpy as np
import pytest

from openmm_confgf.ensemble import Ensemble, Provenance
from openmm_confgf.errors import ConfGFError, GenerationError
from openmm_confgf.generators import DensityGenerator, Draws, Generator
from openmm_confgf.generators.base import check_request, sample_stream
from openmm_confgf.molecules.checks import check_conformations
from openmm_confgf.testing import DensityGeneratorSuite, GeneratorSuite

WATER = np.array([[0.0, 0, 0], [0.1, 0, 0], [-0.03, 0.095, 0]])
WATER -= WATER.mean(0)


class Scatter(Generator):
    """Noise around one point: no conformations, but a sound generator of them."""

    name = "scatter"

    def sample_many(self, molecules, n, *, seed=0, device="auto"):
        return self._each(molecules, check_request(molecules, n, seed), seed)

    def _each(self, molecules, counts, seed):
        for index, (graph, count) in enumerate(zip(molecules, counts, strict=True)):
            if len(graph) < 3:
                yield index, GenerationError(f"{graph.name!r} is too small; give a larger one.")
                continue
            yield index, self._ensemble(graph, self._noise(graph, seed, count), seed)

    def _noise(self, graph, seed, count):
        return np.stack([sample_stream(graph, seed, k).standard_normal((len(graph), 3)) for k in range(count)])

    def _ensemble(self, graph, positions, seed):
        return Ensemble(graph, positions, Provenance(self.name, "", seed), check_conformations(graph, positions))


class Suite(GeneratorSuite):
    molecules = ("O", "CO")
    refused = "[H][H]"


def failing(suite, *arguments):
    """Names of the suite's tests that fail."""
    failed = set()
    for name in (name for name in dir(suite) if name.startswith("test_")):
        method = getattr(suite, name)
        try:
            method(*arguments[: method.__code__.co_argcount - 1])
        except (AssertionError, ConfGFError, ValueError, TypeError):
            failed.add(name)
    return failed


class Unseeded(Scatter):
    def _noise(self, graph, seed, count):
        return np.random.default_rng().standard_normal((count, len(graph), 3))


class GlobalNoise(Scatter):
    def _noise(self, graph, seed, count):
        np.random.seed(seed)  # noqa: NPY002
        return np.random.standard_normal((count, len(graph), 3))  # noqa: NPY002


class OneStream(Scatter):
    def _noise(self, graph, seed, count):
        noise = np.random.default_rng(seed).standard_normal((len(graph), 3, count))
        return noise.transpose(2, 0, 1)


class SharedStream(Scatter):
    def _each(self, molecules, counts, seed):
        stream = np.random.default_rng(seed)
        for index, (graph, count) in enumerate(zip(molecules, counts, strict=True)):
            if len(graph) < 3:
                yield index, GenerationError("too small")
            else:
                yield index, self._ensemble(graph, stream.standard_normal((count, len(graph), 3)), seed)


class Repeating(Scatter):
    def _noise(self, graph, seed, count):
        return np.repeat(super()._noise(graph, 0, 1), count, axis=0)


class AllRight(Scatter):
    def _ensemble(self, graph, positions, seed):
        return Ensemble(graph, positions, Provenance(self.name, "", seed))


class Dropping(Scatter):
    def _ensemble(self, graph, positions, seed):
        return super()._ensemble(graph, positions[: max(1, len(positions) - 1)], seed)


class Nameless(Scatter):
    def _ensemble(self, graph, positions, seed):
        return super()._ensemble(graph, positions, None)


class Reversed(Scatter):
    def sample_many(self, molecules, n, *, seed=0, device="auto"):
        last = len(molecules) - 1
        return ((last - index, outcome) for index, outcome in super().sample_many(molecules, n, seed=seed))


class Twice(Scatter):
    def _each(self, molecules, counts, seed):
        yield from super()._each(molecules, counts, seed)
        yield from super()._each(molecules, counts, seed)


class Lazy(Scatter):
    def sample_many(self, molecules, n, *, seed=0, device="auto"):
        yield from super().sample_many(molecules, n, seed=seed)


class Credulous(Scatter):
    def sample_many(self, molecules, n, *, seed=0, device="auto"):
        return self._each(molecules, [n] * len(molecules) if isinstance(n, int) else n, abs(seed))


class Raising(Scatter):
    def _each(self, molecules, counts, seed):
        for graph in molecules:
            if len(graph) < 3:
                raise GenerationError(f"{graph.name!r} is too small; give a larger one.")
        yield from super()._each(molecules, counts, seed)


def test_a_sound_generator_passes():
    assert not failing(Suite(), Scatter())


@pytest.mark.parametrize(
    ("broken", "found_by"),
    [
        (Unseeded, "test_the_same_seed_gives_the_same_samples"),
        (GlobalNoise, "test_no_global_random_state_is_used"),
        (OneStream, "test_the_first_samples_do_not_depend_on_their_number"),
        (SharedStream, "test_samples_depend_on_no_other_molecule"),
        (Repeating, "test_samples_differ_among_themselves_and_between_seeds"),
        (AllRight, "test_statuses_are_those_of_check_conformations"),
        (Dropping, "test_ensembles_have_a_row_for_each_sample_and_say_where_they_come_from"),
        (Nameless, "test_ensembles_have_a_row_for_each_sample_and_say_where_they_come_from"),
        (Reversed, "test_each_molecule_comes_once_and_with_its_own_count"),
        (Twice, "test_each_molecule_comes_once_and_with_its_own_count"),
        (Lazy, "test_bad_calls_are_refused_before_work_begins"),
        (Credulous, "test_bad_calls_are_refused_before_work_begins"),
        (Raising, "test_a_molecule_that_it_refuses_costs_no_other"),
    ],
)
def test_each_mistake_is_found(broken, found_by):
    assert found_by in failing(Suite(), broken())


class Blob(DensityGenerator):
    """An isotropic Gaussian around one shape of water."""

    name = "blob"

    def __init__(self, width=0.004):
        self.width = width

    def _draw_many(self, molecules, counts, seed, device):
        for index, (graph, count) in enumerate(zip(molecules, counts, strict=True)):
            positions = np.stack([self._draw(sample_stream(graph, seed, k).standard_normal((3, 3))) for k in range(count)])
            yield index, Draws(positions, self._density_of_draws(graph, positions))

    def _draw(self, noise):
        return WATER + self.width * noise

    def _density_of_draws(self, graph, positions):
        return self.log_prob(graph, positions)

    def _log_density(self, graph, positions, device):
        return -0.5 * np.square((positions - WATER) / self.width).sum((1, 2)) - 6 * np.log(np.sqrt(2 * np.pi) * self.width)


class DensitySuite(DensityGeneratorSuite):
    molecules = ("O", "[OH2]")
    weighed = "O"


class OtherDensity(Blob):
    def _density_of_draws(self, graph, positions):
        return super()._density_of_draws(graph, positions) + 1e-3


class InAngstrom(Blob):
    """In the wrong unit of length."""

    def _log_density(self, graph, positions, device):
        return super()._log_density(graph, positions, device) - 6 * np.log(10)


class OfAllCoordinates(Blob):
    """Normalised in 9 dimensions."""

    def _log_density(self, graph, positions, device):
        return super()._log_density(graph, positions, device) - 3 * np.log(np.sqrt(2 * np.pi) * self.width)


class TooNarrow(Blob):
    """Its samples are of another density, as after drawing the outer ones again."""

    def _draw(self, noise):
        return super()._draw(0.9 * noise)


class OfTheBatch(Blob):
    def _log_density(self, graph, positions, device):
        return super()._log_density(graph, positions, device) + 0.01 * len(positions)


class Half(Blob):
    def _density_of_draws(self, graph, positions):
        return super()._density_of_draws(graph, positions).astype(np.float16)


class NoDensity(Scatter):
    def log_prob(self, molecule, positions, *, device="auto"):
        return np.zeros(len(positions))


def test_a_sound_density_passes():
    assert not failing(DensitySuite(), Blob(), Blob(0.005))


@pytest.mark.parametrize(
    ("broken", "found_by"),
    [
        (OtherDensity, "test_samples_carry_their_densities"),
        (Half, "test_samples_carry_their_densities"),
        (NoDensity, "test_samples_carry_their_densities"),
        (InAngstrom, "test_the_density_is_normalised"),
        (OfAllCoordinates, "test_the_density_is_normalised"),
        (TooNarrow, "test_samples_follow_the_density"),
        (OfTheBatch, "test_each_density_depends_on_its_own_conformation"),
    ],
)
def test_each_mistake_in_a_density_is_found(broken, found_by):
    assert found_by in failing(DensitySuite(), broken(), Blob(0.005))


def test_a_second_density_that_says_nothing_is_named():
    with pytest.raises(AssertionError, match="covers the first better"):
        DensitySuite().test_the_density_is_normalised(Blob(), Blob(0.02))


def test_molecules_that_are_refused_are_a_mistake_of_the_suite():
    suite = Suite()
    suite.molecules = ("O", "[H][H]")
    with pytest.raises(AssertionError, match="A molecule of the suite is refused"):
        suite.test_statuses_are_those_of_check_conformations(Scatter())

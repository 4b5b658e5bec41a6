import numpy as np
import pytest

from openmm_confgf.errors import ConfGFError, GenerationError
from openmm_confgf.generators import ConfGFGenerator, DensityGenerator, Draws, ETKDGGenerator
from openmm_confgf.generators.base import sample_stream
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.status import Status

WATER = MolecularGraph.from_smiles("O")
SHAPE = np.array([[0.0, 0, 0], [0.1, 0, 0], [-0.03, 0.095, 0]])


class Blob(DensityGenerator):
    """An isotropic Gaussian in the mean-free subspace around one shape of water, wherever it lies, and not turned."""

    name, width = "blob", 0.004

    def _draw_many(self, molecules, counts, seed, device):
        for index, (graph, count) in enumerate(zip(molecules, counts, strict=True)):
            if not graph.same_as(WATER):
                yield index, GenerationError(f"{graph.name!r} is not water; give water.")
                continue
            noise = np.stack([sample_stream(graph, seed, k).standard_normal((3, 3)) for k in range(count)])
            positions = SHAPE + 0.7 + self.width * noise  # the centre's noise goes with the mean
            yield index, Draws(positions, self.log_prob(graph, positions), {"width": self.width})

    def _log_density(self, graph, positions, device):
        away = (positions - (SHAPE - SHAPE.mean(0))) / self.width
        return -0.5 * np.square(away).sum((1, 2)) - 6 * np.log(np.sqrt(2 * np.pi) * self.width)


def test_ensembles_hold_what_was_drawn_with_its_mean_at_zero():
    ensemble = Blob().sample(WATER, 500, seed=2)
    assert ensemble.provenance.settings == {"width": 0.004} and ensemble.provenance.generator == "blob"
    np.testing.assert_allclose(ensemble.positions.mean(1), 0, atol=1e-12)
    np.testing.assert_allclose(ensemble.log_q, Blob().log_prob(WATER, ensemble.positions), atol=1e-9)
    # its entropy: 6 dimensions of a Gaussian in an orthonormal basis of the mean-free subspace
    entropy = 6 * np.log(np.sqrt(2 * np.pi * np.e) * 0.004)
    assert abs(-ensemble.log_q.mean() - entropy) < 6 * np.sqrt(6 / 2 / 500)


def test_bad_samples_keep_their_row_and_density():
    wide = Blob()
    wide.width = 0.03
    ensemble = wide.sample(WATER, 50, seed=1)
    assert len(ensemble) == 50 and (ensemble.status == Status.WRONG_GRAPH).any() and np.isfinite(ensemble.log_q).all()


def test_another_molecule_is_its_error():
    results = dict(Blob().sample_many([MolecularGraph.from_smiles("CO"), WATER], 2))
    assert isinstance(results[0], GenerationError) and len(results[1]) == 2


def test_densities_of_what_is_not_finite_are_zero_and_quantities_are_taken():
    from openmm import unit

    positions = np.stack([SHAPE, SHAPE, SHAPE + 3.0])
    positions[1, 0, 0] = np.inf
    found = Blob().log_prob("O", positions * 10 * unit.angstrom)
    assert found[1] == -np.inf and found.dtype == np.float64
    np.testing.assert_allclose(found[[0, 2]], -6 * np.log(np.sqrt(2 * np.pi) * 0.004), atol=1e-9)
    assert Blob().log_prob("O", positions[1:2]).tolist() == [-np.inf]
    with pytest.raises(ValueError, match="2 atoms where"):
        Blob().log_prob("O", positions[:, :2])
    with pytest.raises(ConfGFError, match="tpu"):
        Blob().log_prob("O", positions, device="tpu")


@pytest.mark.parametrize("method", ["sample", "sample_many", "log_prob"])
def test_what_could_draw_again_is_refused_when_it_is_defined(method):
    with pytest.raises(TypeError, match=f"Repaired replaces {method} of DensityGenerator"):
        type("Repaired", (Blob,), {method: lambda self, *arguments, **options: None})


@pytest.mark.parametrize("conformers", [ConfGFGenerator, ETKDGGenerator])
def test_a_density_generator_inherits_from_no_generator_of_conformers(conformers):
    with pytest.raises(TypeError, match="Mixed replaces sample_many"):
        type("Mixed", (conformers, Blob), {})


def test_it_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        DensityGenerator()

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from PIL import Image

from openmm_confgf.errors import ConfGFError
from openmm_confgf.generators import ETKDGGenerator
from openmm_confgf.molecules.torsions import rotatable_torsions
from openmm_confgf.plots.ensemble import (
    conformer_overlay,
    energy_histogram,
    plot_ensemble,
    relative_energies,
    torsion_plot,
)
from openmm_confgf.status import Status


@pytest.fixture(scope="module")
def ensemble():
    """Eight conformers of butan-1-ol with made-up energies, one of them unusable."""
    conformers = ETKDGGenerator().sample("CCCCO", 8, seed=1)
    status = np.array([0, 0, Status.CLASH, 0, 0, 0, 0, 0], np.int8)
    return conformers.replace(energy=np.array([5.0, 3.0, -99.0, 8.0, 13.0, 4.0, 3.5, 9.0]), status=status)


@pytest.fixture
def axes():
    return Figure().subplots()


def test_relative_energies_ignore_unusable_samples(ensemble):
    np.testing.assert_allclose(relative_energies(ensemble), [2.0, 0.0, 5.0, 10.0, 1.0, 0.5, 6.0])


def test_histogram_counts_each_usable_conformer_once(ensemble, axes):
    energy_histogram(ensemble, axes)
    assert sum(bar.get_height() for bar in axes.patches) == 7
    assert min(bar.get_x() for bar in axes.patches) == 0.0


def test_torsion_plot_shows_every_angle(ensemble, axes):
    torsion_plot(ensemble, axes)
    assert len(axes.collections) == 2
    angles = axes.collections[0].get_offsets()[:, 0]
    assert len(angles) == 7 and np.abs(angles).max() <= 180
    # RDKit's own measurement of the first torsion of the highest conformer, which is drawn first
    from rdkit.Chem import rdMolTransforms

    highest = ensemble.ranked().to_rdkit().GetConformer(6)
    quadruple = [int(i) for i in rotatable_torsions(ensemble.graph)[0]]
    assert angles[0] == pytest.approx(rdMolTransforms.GetDihedralDeg(highest, *quadruple), abs=1e-4)


def test_overlay_draws_the_lowest_ones(ensemble, axes):
    conformer_overlay(ensemble, axes, count=3)
    skeletons = [c for c in axes.collections if isinstance(c, LineCollection)]
    assert len(skeletons) == 3 and all(len(s.get_segments()) == 4 for s in skeletons)


@pytest.mark.parametrize("smiles", ["O", "CC", "[H][H]", "C1CCCCC1"])
def test_molecules_without_rotatable_bonds_are_drawn(smiles, tmp_path):
    conformers = ETKDGGenerator().sample(smiles, 2)
    plot_ensemble(conformers.replace(energy=np.zeros(2)), tmp_path / "x.png")


def test_picture_is_a_png_with_something_on_it(ensemble, tmp_path):
    path = plot_ensemble(ensemble, tmp_path / "x.png", "butanol")
    with Image.open(path) as image:
        assert image.format == "PNG" and image.size[0] > 1000
        assert len(image.convert("RGB").getcolors(maxcolors=10**6)) > 50


def test_ensembles_that_cannot_be_drawn_are_refused(ensemble, tmp_path):
    with pytest.raises(ConfGFError, match="score it first"):
        plot_ensemble(ensemble.replace(energy=None), tmp_path / "x.png")
    with pytest.raises(ConfGFError, match="nothing to plot"):
        plot_ensemble(ensemble.replace(status=np.full(8, Status.CLASH, np.int8)), tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()

import warnings

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from openmm_confgf.plots.weights import diagnostics_text, plot_weights, weight_histogram, weight_shares
from openmm_confgf.reweighting import reweight


@pytest.fixture(scope="module")
def found(peroxide_samples):
    return reweight(peroxide_samples)


def quietly(ensemble, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return reweight(ensemble, **options)


def test_the_histogram_counts_every_sample_once_as_drawn_and_once_weighed(found):
    axes = Figure().subplots()
    weight_histogram(found, axes)
    bars = sum(patch.get_height() for patch in axes.patches if hasattr(patch, "get_height"))
    assert bars == 4000
    outline = axes.patches[-1].get_xy()
    heights = np.r_[outline[1:-1:2, 1]]
    assert heights.sum() == pytest.approx(4000, rel=1e-6)


def test_rows_without_weight_are_not_drawn(peroxide_samples):
    energy = peroxide_samples.energy.copy()
    energy[:100] = np.inf
    axes = Figure().subplots()
    weight_histogram(quietly(peroxide_samples.replace(energy=energy)), axes)
    assert sum(patch.get_height() for patch in axes.patches if hasattr(patch, "get_height")) == 3900


def test_the_largest_weights_hold_what_they_hold(found):
    axes = Figure().subplots()
    weight_shares(found, axes)
    part, shares = axes.lines[0].get_data()
    weights = np.sort(np.exp(found.log_weights - found.log_weights.max()))[::-1]
    assert len(part) == 4000 and shares[39] == pytest.approx(weights[:40].sum() / weights.sum())


def test_the_title_says_what_the_diagnostics_say(found, peroxide_samples):
    assert diagnostics_text(found.diagnostics).startswith(f"k-hat {found.diagnostics.k_hat:.2f} (within 0.70), ESS 9")
    assert diagnostics_text(quietly(peroxide_samples, truncate=0.01).diagnostics).endswith("% of 4,000, 40 truncated")
    assert diagnostics_text(quietly(peroxide_samples[:20]).diagnostics) == "20 samples, too few for k-hat: ESS withheld"
    heavy = quietly(peroxide_samples.replace(log_q=peroxide_samples.log_q + 2 * np.log(np.random.default_rng(0).random(4000))))
    assert "above 0.70), ESS withheld" in diagnostics_text(heavy.diagnostics)


@pytest.mark.parametrize("rows", [4000, 1])
def test_picture_is_a_png_with_something_on_it(peroxide_samples, tmp_path, rows):
    path = plot_weights(quietly(peroxide_samples[:rows]), tmp_path / "new" / "x.png")
    with Image.open(path) as image:
        assert image.format == "PNG" and image.size[0] > 1000
        assert len(image.convert("RGB").getcolors(maxcolors=10**6)) > 50

import numpy as np
import pytest

from openmm_confgf.errors import ConfGFError
from openmm_confgf.thermodynamics.autocorrelation import statistical_inefficiency


@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_an_autoregressive_series_has_its_own(kept):
    """x' = a x + noise has C(t) = a^t, and so g = (1 + a) / (1 - a)."""
    stream = np.random.default_rng(0)
    chains = np.empty((40, 5000))
    chains[:, 0] = stream.standard_normal(40)
    for step in range(1, 5000):
        chains[:, step] = kept * chains[:, step - 1] + np.sqrt(1 - kept**2) * stream.standard_normal(40)
    assert statistical_inefficiency(chains) == pytest.approx((1 + kept) / (1 - kept), rel=0.06)


@pytest.mark.parametrize("chains", [np.zeros((2, 10)), np.array([[0.0, np.nan, 1.0, 2.0]]), np.arange(5.0)])
def test_what_has_none_is_refused(chains):
    with pytest.raises(ConfGFError, match="have no autocorrelation"):
        statistical_inefficiency(chains)

"""Colours of energies, the same in pictures, reports and notebooks."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

COLOURS = "viridis_r"
"""Colour map of energies: dark is high."""


def energy_colours(energy: NDArray[np.float64], highest: float) -> NDArray[np.float64]:
    """RGBA of energies between 0 and `highest`; the ends of the map are too pale and too dark.

    Parameters
    ----------
    energy : ndarray, (n,)
        kJ/mol.
    highest : float
        kJ/mol.

    Returns
    -------
    ndarray of float64, (n, 4)
        From 0 to 1.
    """
    return np.asarray(colormaps[COLOURS](0.12 + 0.83 * energy / max(highest, 1e-12)))

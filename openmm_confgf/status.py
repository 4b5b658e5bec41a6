"""What became of one conformation."""

from __future__ import annotations

import enum


class Status(enum.IntEnum):
    """Whether one conformation can be used, and if not, why."""

    OK = 0
    NON_FINITE = 1
    """A coordinate, or the energy, is NaN or infinite."""
    WRONG_GRAPH = 2
    """A bond is broken or collapsed: not this molecule any more."""
    WRONG_STEREO = 3
    """A specified stereocentre or double bond has the other hand."""
    CLASH = 4
    """Two atoms that are not bonded touch."""
    NOT_CONVERGED = 5
    """A minimisation stopped at its iteration limit."""
    FAILED = 6
    """The evaluation itself raised an error for this conformation."""
    DISTORTED = 7
    """An angle, or the shape of a centre or a double bond, is not what its valence asks for."""

"""PlacementBatch: a molecule whose atoms are placed one after the other, as a network knows it."""

from __future__ import annotations

import dataclasses
import functools

from .carried_atoms import Carried, carried_by
from .charged_groups import Meeting, meetings
from .placement_arrays import PlacementArrays


@dataclasses.dataclass(frozen=True)
class PlacementBatch(PlacementArrays):
    """The arrays of a molecule, and what turns with its torsions, which follows from them."""

    @functools.cached_property
    def carried(self) -> dict[int, list[Carried]]:
        """Of each step with a torsion, what turns with its atom beside the alike branches that are folded, in the order of the steps."""
        here = self.to("cpu")
        return {k: carried_by(here, k) for k in here.torsion_rows}

    @functools.cached_property
    def meetings(self) -> dict[int, list[Meeting]]:
        """Of each step with a torsion, pairs of charged groups of which one turns with it."""
        found, device = meetings(self.to("cpu"), self.carried), self.atoms.device
        return {k: [meeting.to(device) for meeting in each] for k, each in found.items()}

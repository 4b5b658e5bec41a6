"""BatchedEnergy: the energies of an OpenMM System for a whole batch of conformations at once, differentiable, in torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import openmm
import torch
from torch import Tensor, nn

from .coordinates import Frames
from .tensors import NamedTerm, check_supported, read_systems


class Potential(nn.Module):
    """The energy of one or several Systems as a torch module.

    Parameters
    ----------
    terms : sequence of NamedTerm
    molecules : int
    """

    def __init__(self, terms: Sequence[NamedTerm], molecules: int) -> None:
        super().__init__()
        self.molecules = molecules
        self.labels = [(named.name, named.group) for named in terms]
        self.terms = nn.ModuleList(named.term for named in terms)

    def forward(self, positions: Tensor) -> Tensor:
        """Energies (M, B) in kJ/mol of positions (3, N, B) in nm."""
        frames = Frames(positions)
        total = positions.new_zeros(self.molecules, positions.shape[-1])
        for term in self.terms:
            total = total + term(frames)
        return total

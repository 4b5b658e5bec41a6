"""Energies as feedback: a generator learns the relative probabilities that a level of theory gives its conformations."""

from .before_after import BeforeAfter
from .denoising import Denoised, DenoisingModel
from .losses import boltzmann_target, dpo_loss, eba_loss, effective_winners
from .model import AlignableModel
from .recipe import AlignmentResult, align, alignment_model
from .settings import AlignmentRun

__all__ = [
    "AlignableModel",
    "AlignmentResult",
    "AlignmentRun",
    "BeforeAfter",
    "Denoised",
    "DenoisingModel",
    "align",
    "alignment_model",
    "boltzmann_target",
    "dpo_loss",
    "eba_loss",
    "effective_winners",
]

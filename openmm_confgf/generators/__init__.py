"""What yields conformations of a molecule. Every generator is a `Generator`."""

from ._base import Generator
from .confgf import ConfGFGenerator
from .confgf_paper import ConfGFDistGenerator, PublishedConfGFGenerator
from .etkdg import ETKDGGenerator
from .presets import PRESETS, create_generator, generate

__all__ = [
    "PRESETS",
    "ConfGFDistGenerator",
    "ConfGFGenerator",
    "ETKDGGenerator",
    "Generator",
    "PublishedConfGFGenerator",
    "create_generator",
    "generate",
]

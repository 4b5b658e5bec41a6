"""What yields conformations of a molecule. Every generator is a `Generator`."""

from .base import Generator
from .boltzmann import BoltzmannGenerator
from .confgf import ConfGFGenerator
from .confgf_paper import ConfGFDistGenerator, PublishedConfGFGenerator
from .conforge import ConforgeGenerator
from .density import DensityGenerator, Draws
from .etkdg import ETKDGGenerator
from .harmonic.generator import HarmonicGenerator
from .registry import NETWORKS, PRESETS, create_generator, generate
from .relaxed import RelaxedGenerator
from .tbg import TBGGenerator

__all__ = [
    "NETWORKS",
    "PRESETS",
    "BoltzmannGenerator",
    "ConfGFDistGenerator",
    "ConfGFGenerator",
    "ConforgeGenerator",
    "DensityGenerator",
    "Draws",
    "ETKDGGenerator",
    "Generator",
    "HarmonicGenerator",
    "PublishedConfGFGenerator",
    "RelaxedGenerator",
    "TBGGenerator",
    "create_generator",
    "generate",
]

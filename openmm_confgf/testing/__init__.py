"""Tests that an implementation of one's own must pass, to be inherited from: a class each, for pytest."""

from .denoising_model import DenoisingModelSuite
from .density_generator import DensityGeneratorSuite
from .energy import DifferentiableEnergySuite, EnergySuite
from .generator import GeneratorSuite

__all__ = ["DenoisingModelSuite", "DensityGeneratorSuite", "DifferentiableEnergySuite", "EnergySuite", "GeneratorSuite"]

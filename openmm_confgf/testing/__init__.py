"""Tests that an implementation of one's own must pass, to be inherited from: a class each, for pytest."""

from .density_generator import DensityGeneratorSuite
from .energy import DifferentiableEnergySuite, EnergySuite
from .generator import GeneratorSuite

__all__ = ["DensityGeneratorSuite", "DifferentiableEnergySuite", "EnergySuite", "GeneratorSuite"]

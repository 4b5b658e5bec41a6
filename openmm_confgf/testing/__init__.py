"""Tests that an implementation of one's own must pass, to be inherited from: a class each, for pytest."""

from .energy import DifferentiableEnergySuite, EnergySuite

__all__ = ["DifferentiableEnergySuite", "EnergySuite"]

"""An exact density of small molecules: Gaussians in internal coordinates around all labelled minima."""

from .generator import HarmonicGenerator

__all__ = ["HarmonicGenerator"]

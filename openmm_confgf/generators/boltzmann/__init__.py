"""Boltzmann generators: equilibrium samples of molecules with exact densities, atom by atom."""

from .generator import BoltzmannGenerator

__all__ = ["BoltzmannGenerator"]

"""Transferable Boltzmann generators (Klein & Noe 2024): a continuous flow of all atoms at once."""

from .generator import TBGGenerator

__all__ = ["TBGGenerator"]

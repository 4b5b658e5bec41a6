"""Back into molecular dynamics."""

from .seeding import Seed, seed_simulations

__all__ = ["Seed", "seed_simulations"]

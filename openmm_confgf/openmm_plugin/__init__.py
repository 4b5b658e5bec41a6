"""Back into molecular dynamics."""

from .generator_move import GeneratorMove, MixedRun, run_with_moves
from .seeding import Seed, seed_simulations

__all__ = ["GeneratorMove", "MixedRun", "Seed", "run_with_moves", "seed_simulations"]

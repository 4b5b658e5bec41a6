"""Back into molecular dynamics."""

from .generator_move import GeneratorMove, MixedRun, run_with_moves
from .partial_move import PartialMove
from .seeding import Seed, seed_simulations

__all__ = ["GeneratorMove", "MixedRun", "PartialMove", "Seed", "run_with_moves", "seed_simulations"]

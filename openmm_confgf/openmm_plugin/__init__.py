"""Back into molecular dynamics, and out of it again."""

from .generator_move import GeneratorMove, MixedRun, run_with_moves
from .harvest import HarvestReporter
from .harvest_file import harvested
from .partial_move import PartialMove
from .placing import place_conformer
from .seeding import Seed, seed_simulations
from .states import sampler_states, states, write_states

__all__ = [
    "GeneratorMove",
    "HarvestReporter",
    "MixedRun",
    "PartialMove",
    "Seed",
    "harvested",
    "place_conformer",
    "run_with_moves",
    "sampler_states",
    "seed_simulations",
    "states",
    "write_states",
]

"""Back into molecular dynamics, and out of it again."""

from .generator_move import GeneratorMove, MixedRun, run_with_moves
from .harvest import HarvestReporter
from .harvest_file import harvested
from .learned_potential import learned_force, learned_system, potential_level
from .mcmc_move import GeneratorMCMCMove
from .partial_move import PartialMove
from .placing import place_conformer
from .pseudo_force import add_pseudo_force
from .seeding import Seed, seed_simulations
from .states import sampler_states, states, write_states
from .system_xml import read_system

__all__ = [
    "GeneratorMCMCMove",
    "GeneratorMove",
    "HarvestReporter",
    "MixedRun",
    "PartialMove",
    "Seed",
    "add_pseudo_force",
    "harvested",
    "learned_force",
    "learned_system",
    "place_conformer",
    "potential_level",
    "read_system",
    "run_with_moves",
    "sampler_states",
    "seed_simulations",
    "states",
    "write_states",
]

"""What a conformation costs: force fields, OpenMM Contexts, MMFF94s, GFN2-xTB, minimisation. Knows OpenMM, knows no network."""

from .batched.batched import BatchedEnergy, energy
from .batched.packed import PackedEnergy
from .batched.read_system import SUPPORTED, check_supported
from .context import ContextEnergy, resolve_platform
from .context_pool import ContextPool
from .interface import DifferentiableEnergy, Energy, EnergyResult
from .levels import Level, LevelLike, level_of
from .minimize import Minimized, minimize
from .mmff import MMFFEnergy
from .systems.forcefields import SystemBuilder, create_system
from .systems.source import ForceFieldLike, SystemSource, system_source
from .xtb.gfn2 import GFN2Energy
from .xtb.minimize import minimize_gfn2, optimizer_version, resolve_optimizer

__all__ = [
    "SUPPORTED",
    "BatchedEnergy",
    "ContextEnergy",
    "ContextPool",
    "DifferentiableEnergy",
    "Energy",
    "EnergyResult",
    "ForceFieldLike",
    "GFN2Energy",
    "Level",
    "LevelLike",
    "MMFFEnergy",
    "Minimized",
    "PackedEnergy",
    "SystemBuilder",
    "SystemSource",
    "check_supported",
    "create_system",
    "energy",
    "level_of",
    "minimize",
    "minimize_gfn2",
    "optimizer_version",
    "resolve_optimizer",
    "resolve_platform",
    "system_source",
]

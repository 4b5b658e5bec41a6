"""What a conformation costs: force fields, OpenMM Contexts, GFN2-xTB, minimisation. Knows OpenMM, knows no network."""

from .batched import BatchedEnergy, energy
from .context import ContextEnergy, resolve_platform
from .forcefields import SystemBuilder, create_system
from .gfn2 import GFN2Energy
from .gfn2_minimize import minimize_gfn2, optimizer_version, resolve_optimizer
from .minimize import Minimized, minimize
from .packed import PackedEnergy
from .result import EnergyResult
from .system_source import ForceFieldLike, SystemSource, system_source
from .tensors import SUPPORTED, check_supported

__all__ = [
    "SUPPORTED",
    "BatchedEnergy",
    "ContextEnergy",
    "EnergyResult",
    "ForceFieldLike",
    "GFN2Energy",
    "Minimized",
    "PackedEnergy",
    "SystemBuilder",
    "SystemSource",
    "check_supported",
    "create_system",
    "energy",
    "minimize",
    "minimize_gfn2",
    "optimizer_version",
    "resolve_optimizer",
    "resolve_platform",
    "system_source",
]

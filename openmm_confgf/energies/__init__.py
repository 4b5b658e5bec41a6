"""What a conformation costs: force fields, OpenMM Contexts, GFN2-xTB, minimisation. Knows OpenMM, knows no network."""

from .context import ContextEnergy, resolve_platform
from .forcefields import SystemBuilder, create_system
from .gfn2 import GFN2Energy
from .gfn2_minimize import minimize_gfn2, optimizer_version, resolve_optimizer
from .minimize import Minimized, minimize
from .result import EnergyResult

__all__ = [
    "ContextEnergy",
    "EnergyResult",
    "GFN2Energy",
    "Minimized",
    "SystemBuilder",
    "create_system",
    "minimize",
    "minimize_gfn2",
    "optimizer_version",
    "resolve_optimizer",
    "resolve_platform",
]

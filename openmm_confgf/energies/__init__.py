"""What a conformation costs: force fields, OpenMM Contexts, minimisation. Knows OpenMM, knows no network."""

from .context import ContextEnergy, resolve_platform
from .forcefields import SystemBuilder, create_system
from .minimize import Minimized, minimize
from .result import EnergyResult

__all__ = ["ContextEnergy", "EnergyResult", "Minimized", "SystemBuilder", "create_system", "minimize", "resolve_platform"]

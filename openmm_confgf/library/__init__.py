"""Many molecules: the work on each, in this process or in several, and the store of those that are finished."""

from .jobs import Generation, Scoring
from .store import Store, kept_or_made

__all__ = ["Generation", "Scoring", "Store", "kept_or_made"]

"""Reference ensembles of one's own molecules: exhaustive conformers, minimised at a level of theory and without duplicates."""

from .many import reference_ensembles, reference_store
from .protocol import ReferenceMaker, ReferenceProtocol, reference_ensemble

__all__ = ["ReferenceMaker", "ReferenceProtocol", "reference_ensemble", "reference_ensembles", "reference_store"]

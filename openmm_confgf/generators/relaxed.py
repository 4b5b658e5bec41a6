"""Any generator with a relaxation after it, as a step of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..energies import ForceFieldLike, SystemSource, resolve_platform
from ..energies.relaxation import RDKIT_FORCEFIELDS, relax
from ..energies.systems.source import system_source
from ..ensemble import Ensemble
from ..errors import ConfGFError
from ..molecules.graph import MolecularGraph
from .base import Generator


class RelaxedGenerator(Generator):
    """Another generator's conformations, each brought to the nearest minimum of a force field by `relax`.

    Parameters
    ----------
    source : Generator
    forcefield : str, SystemBuilder, ForceField, SystemGenerator or callable
        As in `relax`.
    platform, properties
        As in `ContextEnergy`.

    Raises
    ------
    ForceFieldError
        If the force field is unknown, or what it needs is not installed.
    PlatformError
        If the platform is not available.
    """

    def __init__(
        self, source: Generator, forcefield: ForceFieldLike = "mmff94s", platform: str = "auto", properties: Mapping[str, Any] | None = None
    ) -> None:
        self.source, self._platform, self._properties = source, platform, properties
        self._forcefield: str | SystemSource
        if isinstance(forcefield, str) and forcefield in RDKIT_FORCEFIELDS:
            self._forcefield, label = forcefield, forcefield
        else:
            self._forcefield = system_source(forcefield)
            label = self._forcefield.forcefield
        self.name = f"{source.name}+{label}"
        self.weights_sha256 = source.weights_sha256
        resolve_platform(platform, properties)

    def calls(self, graph: MolecularGraph) -> int:
        return self.source.calls(graph)

    def trained_on(self, graph: MolecularGraph) -> bool:
        """Whether the source was."""
        return self.source.trained_on(graph)

    def sample_many(
        self, molecules: Sequence[MolecularGraph], n: int | Sequence[int], *, seed: int = 0, device: str = "auto"
    ) -> Iterator[tuple[int, Ensemble | ConfGFError]]:
        """As `Generator.sample_many`, in the order of the source."""
        return self._relax_each(self.source.sample_many(molecules, n, seed=seed, device=device))

    def _relax_each(self, stream: Iterator[tuple[int, Ensemble | ConfGFError]]) -> Iterator[tuple[int, Ensemble | ConfGFError]]:
        for index, outcome in stream:
            if isinstance(outcome, ConfGFError):
                yield index, outcome
                continue
            try:
                yield index, relax(outcome, self._forcefield, platform=self._platform, properties=self._properties)
            except ConfGFError as error:
                yield index, error

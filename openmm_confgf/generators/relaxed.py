"""Any generator with a relaxation after it, as a step of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..energies import LevelLike, level_of, resolve_platform
from ..energies.relaxation import relax
from ..ensemble import Ensemble
from ..errors import ConfGFError
from ..molecules.graph import MolecularGraph
from .base import Generator


class RelaxedGenerator(Generator):
    """Another generator's conformations, each brought to the nearest minimum at a level of theory by `relax`.

    Parameters
    ----------
    source : Generator
    forcefield : str, Level, SystemBuilder, ForceField, SystemGenerator or callable
    platform, properties
        As in `relax`.

    Raises
    ------
    ForceFieldError
        If the force field is unknown, or what it needs is not installed.
    PlatformError
        If the platform is not available.
    """

    def __init__(
        self, source: Generator, forcefield: LevelLike = "mmff94s", platform: str = "auto", properties: Mapping[str, Any] | None = None
    ) -> None:
        self.source, self._level = source, level_of(forcefield, platform, properties)
        self.name = f"{source.name}+{self._level.name}"
        self.weights_sha256 = source.weights_sha256
        resolve_platform(platform, properties)

    def calls(self, graph: MolecularGraph) -> int:
        """As in `Generator.calls`: those of the source."""
        return self.source.calls(graph)

    def trained_on(self, graph: MolecularGraph) -> bool:
        """As in `Generator.trained_on`: whether the source was."""
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
                yield index, relax(outcome, self._level)
            except ConfGFError as error:
                yield index, error

"""ConfGF, the default preset: a start from ETKDG or from noise, the flow of the field, and settling in its modes."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..devices import compile_problem
from ..energies.relaxation import relax
from ..ensemble import Ensemble, Provenance
from ..errors import ConfGFError, ForceFieldError
from ..models.features import GraphBatch, conformation_hands
from ..models.field import PairField
from ..molecules.graph import MolecularGraph
from ..molecules.shapes import novel_picks, shape_vectors
from ..units import NM_PER_ANGSTROM
from ..version import __version__
from .etkdg import embed
from .network.conformer_job import Starts
from .network.conformers import NetworkConformerGenerator
from .samplers import mode_ascent, probability_flow

_STARTS = {"etkdg": (0.3, 2), "etkdg+mmff": (0.3, 2), "noise": (5.0, 40)}
"""By start: the noise on it in Angstrom, and the calls of the flow."""

_ATTEMPTS_FROM_NOISE = 2
"""Of samples that do not come out OK from elsewhere."""

_SHORT, _LONG = (steps * (0.2,) + 6 * (0.1,) + 4 * (0.05,) for steps in (2, 6))

_FEW_HEAVY_ATOMS = 9
"""Larger molecules fold: from ETKDG they settle longer."""


class ConfGFGenerator(NetworkConformerGenerator):
    """Starts with noise on them, brought back by the probability flow of a trained `PairField`, and settled in its modes.

    Settling moves each sample to the conformation that it belongs to, so the samples are conformers, not draws from a thermal
    distribution.

    Where a molecule has no ETKDG start, or a sample does not come out OK from it, it is drawn from noise, with the specified stereo told to
    the network; where that fails, its start is left as it is, relaxed in MMFF94s or UFF. ``diagnostics["ways"]`` counts the samples
    of each way. A molecule without start of which the first four samples fail from noise as well is refused.

    Parameters
    ----------
    weights : str or Path
        Name of shipped weights, or a ``.safetensors`` file with its card beside it.
    start : str
        ``"etkdg"``: each sample starts from an ETKDGv3 conformation, whose hands it keeps at every tetrahedral centre; RDKit gives
        topology and hand, the field gives geometry. ``"etkdg+mmff"``: the same, with the start relaxed in MMFF94s, or in UFF where that has
        no parameters; where neither has, or the minimum or what the field makes of it is no conformation of the molecule, from ETKDG
        alone. ``"noise"``: from noise alone, with the specified stereo told to the network.
    sigma_max : float, optional
        Noise on the start in Angstrom; by default 0.3 on ETKDG and 5 alone.
    flow_calls : int, optional
        Network calls of the flow from `sigma_max` to the first settling level; by default 40 from noise, 2 from elsewhere.
    mode_seeking_sigmas : sequence of float, optional
        Noise levels in Angstrom of the settling steps, one network call each; by default 0.2 twice (six times from ETKDG where a molecule
        has more than nine heavy atoms; starts that no force field relaxed count as relaxed here), then 0.1 six times and 0.05 four times.
    candidates : int
        ETKDG conformations made for each sample. The one least like the starts of the samples before it is taken
        (`shapes.novel_picks`), so that few samples reach many conformers.
    compiled : bool
        Fuse the network's operations with `torch.compile`. The first batches of a process then take minutes more, and all later ones half
        the time or less on one core: there it pays from some ten thousand conformers on. Compiled batches run one after the other, on all
        cores, which on two cores uses up the gain. The samples differ in rounding from those of a network that is not compiled.

    Raises
    ------
    WeightsError
        If the weights cannot be used.
    ConfGFError
        If there is no such start, or a number is out of range.
    """

    name = "confgf"
    network = PairField
    net: PairField
    attempts = 3

    def __init__(
        self,
        weights: str | Path = "confgf",
        start: str = "etkdg",
        sigma_max: float | None = None,
        flow_calls: int | None = None,
        mode_seeking_sigmas: Sequence[float] | None = None,
        candidates: int = 4,
        compiled: bool = False,
    ) -> None:
        if start not in _STARTS:
            raise ConfGFError(f"The start {start!r} is unknown; use one of {', '.join(_STARTS)}.")
        default_sigma, default_calls = _STARTS[start]
        self.start, self.candidates = start, candidates
        self.mode_seeking_sigmas = None if mode_seeking_sigmas is None else tuple(mode_seeking_sigmas)
        self.sigma_max = default_sigma if sigma_max is None else sigma_max
        self.flow_calls = default_calls if flow_calls is None else flow_calls
        if self.flow_calls < 1 or candidates < 1 or self.mode_seeking_sigmas == ():
            raise ConfGFError("Give at least one flow call, one settling step and one candidate.")
        if not all(0 < sigma < math.inf for sigma in (self.sigma_max, *(self.mode_seeking_sigmas or ()))):
            raise ConfGFError("A noise level is not a finite number above 0; give all of them in Angstrom.")
        super().__init__(weights)
        if start != "noise":
            self.fallback = copy.copy(self)
            self.fallback.start, self.fallback.attempts = "noise", _ATTEMPTS_FROM_NOISE
            self.fallback.sigma_max, self.fallback.flow_calls = _STARTS["noise"]
        self.side_by_side = not compiled  # torch compiles in one thread only
        if compiled:
            self.net.compile_blocks()

    def calls(self, graph: MolecularGraph) -> int:
        """As in `Generator.calls`: those of the flow, and one for each settling step."""
        return self.flow_calls + len(self._mode_seeking_levels(graph.mol.GetNumHeavyAtoms()))

    def _mode_seeking_levels(self, heavy_atoms: int) -> tuple[float, ...]:
        if self.mode_seeking_sigmas is not None:
            return self.mode_seeking_sigmas
        return _LONG if self.start == "etkdg" and heavy_atoms > _FEW_HEAVY_ATOMS else _SHORT

    def _starts(self, graph: MolecularGraph, n: int, seed: int, streams: Sequence[np.random.Generator]) -> Starts:
        if self.start == "noise":
            return Starts([np.zeros((n, len(graph), 3))], ["noise"] * n)
        pool, ways = embed(graph, n, seed, self.candidates)
        vectors = np.where(pool.ok[:, None], shape_vectors(graph, pool.positions), np.nan)
        picked = pool.select(novel_picks(vectors, self.candidates))
        starts = [picked.positions]
        if self.start == "etkdg+mmff":
            with contextlib.suppress(ForceFieldError):
                relaxed = relax(picked, "mmff")
                starts.insert(0, np.where(relaxed.ok[:, None, None], relaxed.positions, picked.positions))
        return Starts([(start - start.mean(axis=1, keepdims=True)) / NM_PER_ANGSTROM for start in starts], [way.name for way in ways])

    def _without_network(self, graph: MolecularGraph, starts: NDArray[Any]) -> NDArray[np.float64]:
        positions = starts * NM_PER_ANGSTROM
        given = Ensemble(graph, positions, Provenance("starts", __version__))  # wrong ones too: what they relax to is checked
        with contextlib.suppress(ForceFieldError):
            relaxed = relax(given, "mmff")
            positions = np.where(relaxed.ok[:, None, None], relaxed.positions, positions)
        return positions / NM_PER_ANGSTROM

    def _run(self, batch: GraphBatch, starts: Tensor, streams: Sequence[Sequence[np.random.Generator]]) -> Tensor:
        kept = conformation_hands(starts, batch)  # none where all atoms start in one place
        hands = torch.where(kept == 0, batch.hands[:, None], kept)
        noise = torch.zeros_like(starts, device="cpu")
        sizes = batch.atom_mask.sum(1).tolist()
        for row, size, row_streams in zip(noise, sizes, streams, strict=True):
            for sample, stream in zip(row, row_streams, strict=False):
                drawn = torch.from_numpy(stream.standard_normal((size, 3), np.float32))
                sample[:size] = drawn - drawn.mean(0)
        graph, net = self.net.encode(batch), self.net
        levels = self._mode_seeking_levels(int((batch.atoms[0, :, 0] > 1).sum()))
        settling = torch.tensor(levels, device=starts.device)
        flowing = torch.from_numpy(np.geomspace(self.sigma_max, levels[0], self.flow_calls, dtype=np.float32)).to(starts.device)

        def denoise(positions: Tensor, sigma: Tensor) -> Tensor:
            return net(graph, positions, sigma.expand(positions.shape[:2]), hands)

        try:
            flowed = probability_flow(denoise, starts + self.sigma_max * noise.to(starts.device), flowing)
        except torch._dynamo.exc.TorchDynamoException as error:
            raise ConfGFError(
                f"torch cannot compile here ({compile_problem(error)}); install a C++ compiler, or generate without compiling."
            ) from error
        return mode_ascent(denoise, flowed, settling)

    def _settings(self, graph: MolecularGraph) -> dict[str, Any]:
        return {
            "start": self.start,
            "sigma_max": self.sigma_max,
            "flow_calls": self.flow_calls,
            "mode_seeking_sigmas": list(self._mode_seeking_levels(graph.mol.GetNumHeavyAtoms())),
            "candidates": self.candidates,
        }

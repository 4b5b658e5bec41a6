"""HarmonicGenerator: densities of small molecules in internal coordinates, around all of their minima."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from scipy.special import logsumexp

from ...energies import BatchedEnergy, ForceFieldLike, system_source
from ...ensemble import Target
from ...errors import ConfGFError, GenerationError, UnsupportedMoleculeError
from ...molecules.graph import MolecularGraph
from ...units import in_md_units, kT
from ..base import sample_stream
from ..density import DensityGenerator, Draws
from .internal_coordinates import ZMatrix
from .labelled_minima import labelled_minima
from .well import HarmonicWell


class HarmonicGenerator(DensityGenerator):
    """Gaussians of bond lengths, angles and dihedrals at all minima that are found, in their harmonic populations (``"harmonic"``).

    The harmonic approximation in internal coordinates (`ZMatrix`), turned at random; a tenth of the samples has uniform torsions instead
    (`HarmonicWell`). The density is exact on the mean-free subspace, rotations included; what it approximates is the Boltzmann density.
    Weights ``exp(-E / kT - log_q)`` correct that: their mean is the configuration integral with all anharmonicity, and their spread tells
    how far from harmonic the molecule is. They serve small molecules, with a few torsions. Each minimum counts with the labels of its atoms
    (`labelled_minima`): the three orientations of a methyl group are three minima, but exchanges of hydrogens that no motion makes are
    left out. What neither a start nor a torsion leads to (another ring pucker) is missing from the density, and weights cannot bring it
    back.

    Parameters
    ----------
    forcefield : str, SystemBuilder, openmm.System, ForceField, SystemGenerator or callable
        As in `system_source`, without constraints.
    temperature : float or Quantity
        K, of the Gaussians.
    starts : int
        ETKDG conformations from which minima are searched: always the same ones, so that the density does not depend on the samples' seed.

    Raises
    ------
    WrongTypeError, ForceFieldError
        As in `system_source`.
    ConfGFError
        If the temperature is not positive, or there is no start.
    """

    name = "harmonic"

    def __init__(self, forcefield: ForceFieldLike = "openff-2.2.1", temperature: Any = 300.0, starts: int = 32) -> None:
        self.temperature = float(in_md_units(temperature))
        if not 0 < self.temperature < math.inf:
            raise ConfGFError(f"The temperature is {self.temperature:g} K; give a finite one above 0 K.")
        if starts < 1:
            raise ConfGFError(f"There are {starts} starts; give at least 1.")
        self.source, self.starts = system_source(forcefield), starts
        self._last: tuple[MolecularGraph, _Mixture] | None = None

    def _draw_many(
        self, molecules: Sequence[MolecularGraph], counts: Sequence[int], seed: int, device: torch.device
    ) -> Iterator[tuple[int, Draws | ConfGFError]]:
        for index, (graph, count) in enumerate(zip(molecules, counts, strict=True)):
            try:
                mixture = self._mixture(graph)
            except ConfGFError as error:
                yield index, error
                continue
            positions = mixture.sample([sample_stream(graph, seed, k) for k in range(count)])
            yield index, Draws(positions, mixture.log_density(positions), mixture.settings, mixture.target)

    def _log_density(self, graph: MolecularGraph, positions: NDArray[np.float64], device: torch.device) -> NDArray[np.float64]:
        return self._mixture(graph).log_density(positions)

    def _mixture(self, graph: MolecularGraph) -> _Mixture:
        """The molecule's density; the last one is kept, since samples are often followed by densities of the same molecule."""
        if self._last is None or not self._last[0].same_as(graph):
            self._last = graph, self._find_mixture(graph)
        return self._last[1]

    def _find_mixture(self, graph: MolecularGraph) -> _Mixture:
        if len(graph) < 3:
            raise UnsupportedMoleculeError(f"{graph.name!r} has {len(graph)} atoms; a harmonic density needs at least 3.")
        system, thermal = self.source.build(graph), kT(self.temperature)
        zmatrix, energy_of = ZMatrix.of(graph), BatchedEnergy(system, device="cpu", for_reweighting=True)
        wells, log_weights = [], []
        for minimum, energy in zip(*labelled_minima(graph, system, zmatrix, self.starts), strict=True):
            if (well := _well(zmatrix, minimum, energy_of, thermal)) is None:
                continue
            if not well.stays_within(*_limits(zmatrix)):
                raise UnsupportedMoleculeError(
                    f"{graph.name!r} has three atoms in line, where internal coordinates end; a harmonic density needs another molecule."
                )
            volume_element = zmatrix.log_volume_element(torch.from_numpy(well.normal.centre[None])).item()
            wells.append(well)
            log_weights.append(well.normal.log_volume + volume_element - energy / thermal)
        if not wells:
            raise GenerationError(f"{graph.name!r} has no minimum at which its stiffness is positive; try another force field.")
        settings = {"charges": self.source.charges, "starts": self.starts, "minima": len(wells)}
        target = self.source.target(system, self.temperature)
        return _Mixture(zmatrix, tuple(wells), np.array(log_weights) - logsumexp(log_weights), settings, target)


@dataclasses.dataclass(frozen=True)
class _Mixture:
    """Wells in internal coordinates, the logarithms (M,) of their normalised weights, and what they come from."""

    zmatrix: ZMatrix
    wells: tuple[HarmonicWell, ...]
    log_weights: NDArray[np.float64]
    settings: dict[str, Any]
    target: Target

    def sample(self, streams: Sequence[np.random.Generator]) -> NDArray[np.float64]:
        """Conformations (n, N, 3) in nm, turned at random, one of each random stream."""
        shares = np.exp(self.log_weights).cumsum()
        chosen = [self.wells[min(int(np.searchsorted(shares, stream.random())), len(shares) - 1)] for stream in streams]
        coordinates = np.stack([well.sample(stream) for well, stream in zip(chosen, streams, strict=True)])
        # uniform directions in four dimensions are uniform rotations
        turns = Rotation.from_quat([stream.standard_normal(4) for stream in streams]).as_matrix()
        return np.einsum("bij,bnj->bni", turns, self.zmatrix.positions(torch.from_numpy(coordinates)).numpy())

    def log_density(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """On the mean-free subspace, at positions (B, N, 3) in nm, (B,) in nats; -inf where there is no dihedral, atoms being in line."""
        coordinates = self.zmatrix.coordinates(torch.from_numpy(positions))
        known = coordinates.isfinite().all(dim=-1)
        values = coordinates[known].numpy()
        of_coordinates = logsumexp([well.log_density(values) for well in self.wells] + self.log_weights[:, None], axis=0)
        found = np.full(len(positions), -np.inf)
        found[known.numpy()] = of_coordinates - self.zmatrix.log_volume_element(coordinates[known]).numpy()
        return found


def _well(zmatrix: ZMatrix, minimum: NDArray[np.float64], energy: BatchedEnergy, thermal: float) -> HarmonicWell | None:
    """The well of a minimum (N, 3) in nm at an energy kT in kJ/mol; None where the stiffness is not positive.

    The second derivatives in internal coordinates are ``J^T H J``, J those of the positions, since the forces are zero.
    """
    centre = zmatrix.coordinates(torch.from_numpy(minimum[None]))[0]
    flat = zmatrix.positions(centre[None]).flatten()
    hessian = torch.autograd.functional.hessian(lambda x: energy.energy(x.reshape(1, -1, 3))[0], flat)
    jacobian = torch.autograd.functional.jacobian(lambda coordinates: zmatrix.positions(coordinates[None]).flatten(), centre)
    turning, rotors = np.zeros((2, len(centre)), bool)
    turning[zmatrix.dihedral_columns] = True
    rotors[zmatrix.rotor_columns] = True
    return HarmonicWell.of(centre.numpy(), (jacobian.T @ hessian @ jacobian / thermal).numpy(), turning, rotors)


def _limits(zmatrix: ZMatrix) -> NDArray[np.float64]:
    """Where lengths and angles end, (2, 3N - 6)."""
    lengths, bends, dihedrals = len(zmatrix.pairs), len(zmatrix.triples), len(zmatrix.quadruples)
    low = np.repeat([0.0, 0.0, -np.inf], [lengths, bends, dihedrals])
    return np.stack([low, np.repeat([np.inf, math.pi, np.inf], [lengths, bends, dihedrals])])

"""DensityGenerator: a generator that knows how probable each of its samples was."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from ..devices import Device, resolve_device
from ..ensemble import Ensemble, Provenance, Target
from ..errors import ConfGFError
from ..molecule_like import MoleculeLike, as_graph
from ..molecules.checks import check_conformations
from ..molecules.graph import MolecularGraph
from ..molecules.stereoisomers import stereo_settings
from ..status import Status
from ..thermodynamics.diagnostics import diagnose
from ..thermodynamics.log_weights import log_weights
from ..version import __version__
from .base import Generator, check_request


@dataclasses.dataclass(frozen=True)
class Draws:
    """Independent samples of a density, and its values there.

    Attributes
    ----------
    positions : ndarray of float64, (n, N, 3)
        nm, wherever their centre is.
    log_q : ndarray of float64, (n,)
        Natural logarithm of the density in the measure of `DensityGenerator`.
    settings : dict
        What decided them besides weights and seed, for `Provenance.settings`.
    target : Target, optional
        The distribution that the density is meant to be near.
    energy : ndarray of float64, (n,), optional
        kJ/mol in the target's force field; +inf where it is not finite, or the sample is another molecule.
    diagnostics : dict
        For `Ensemble.diagnostics`; what the weights are worth joins them where there are energies and a temperature.
    status : ndarray of int8, (n,), optional
        A `Status` each, as far as the generator knows; where it is OK, the checks decide.
    """

    positions: NDArray[np.float64]
    log_q: NDArray[np.float64]
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    target: Target | None = None
    energy: NDArray[np.float64] | None = None
    diagnostics: dict[str, Any] = dataclasses.field(default_factory=dict)
    status: NDArray[np.int8] | None = None


class DensityGenerator(Generator):
    r"""Independent samples of a normalised density q that can be evaluated exactly, at its samples and anywhere else.

    **The measure.** Positions of N atoms whose mean is zero are a subspace of :math:`\mathbb{R}^{3N}` with ``3N - 3`` dimensions. Let the
    columns of B (3N x (3N - 3)) be an orthonormal basis of it and :math:`z = B^\top x`, with all lengths in nm. q is the density with
    respect to the Lebesgue measure dz, so that ``log_q`` is in nats and q in nm^-(3N-3). It does not depend on the basis, since the
    coordinates of two orthonormal bases differ by an orthogonal map. The mean is that over atoms, not over masses. Rotations are part of
    the space: a generator that turns its samples at random has the density that is averaged over rotations.

    *Boltzmann weights.* For an energy that no translation changes, dx is :math:`N^{3/2}` dc dz, where c is the mean of the positions: the
    coordinate along a translation of all atoms by a is :math:`\sqrt{N} a`. In a box of volume V therefore

    .. math:: \int e^{-u(x)}\,dx = V N^{3/2} \int e^{-u(z)}\,dz, \qquad
              \int e^{-u(z)}\,dz = \Big\langle e^{-u(z)} / q(z) \Big\rangle_q,

    and ``-u - log_q`` are the logarithms of unnormalised weights; their constant :math:`V N^{3/2}` cancels in averages and between
    ensembles of one molecule.

    *Internal coordinates.* Let :math:`\xi` be bond lengths r, angles :math:`\theta` and dihedrals of a tree of the atoms (Z-matrix), with
    density :math:`p(\xi)` in nm and rad, and let the molecule be turned at random. Then

    .. math:: q(z) = \frac{p(\xi)}{8 \pi^2 N^{3/2} \prod r^2 \prod \sin\theta},

    with all N - 1 lengths and N - 2 angles in the products (Herschbach, Johnston & Rapp 1959, doi:10.1063/1.1730670).

    **What subclasses give.** `_draw_many` and `_log_density`. `sample_many` makes ensembles of what was drawn, row by row: it only moves
    each sample's mean to zero and gives it a status. Drawing bad samples again, repairing or relaxing them would change q, so there is no
    place for it: a subclass that overrides `sample`, `sample_many` or `log_prob`, by itself or by inheriting from a generator of conformers
    too, is refused when it is defined. Bad samples keep their row, their status and their ``log_q``.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in ("sample", "sample_many", "log_prob"):
            if getattr(cls, name) is not getattr(DensityGenerator, name):
                raise TypeError(
                    f"{cls.__name__} replaces {name} of DensityGenerator, which keeps samples as they were drawn; give _draw_many and "
                    "_log_density instead, and inherit from no generator of conformers."
                )

    @final
    def sample_many(
        self, molecules: Sequence[MolecularGraph], n: int | Sequence[int], *, seed: int = 0, device: str = "auto"
    ) -> Iterator[tuple[int, Ensemble | ConfGFError]]:
        """As `Generator.sample_many`; ensembles have mean-free positions, and ``log_q``."""
        counts, where = check_request(molecules, n, seed), resolve_device(device)
        return self._ensembles(molecules, self._draw_many(molecules, counts, seed, where), seed)

    @final
    def log_prob(self, molecule: MoleculeLike, positions: Any, *, device: Device = "auto") -> NDArray[np.float64]:
        """The density at given conformations.

        Parameters
        ----------
        molecule : str, rdkit.Chem.Mol, openff.toolkit.Molecule, openmm.app.Topology or MolecularGraph
            As in `sample`.
        positions : array_like or Quantity, (B, N, 3) or (N, 3)
            nm; translations make no difference.
        device : str, int or torch.device
            As in `sample`.

        Returns
        -------
        ndarray of float64, (B,)
            ``log q`` in nats; -inf where q is zero or a coordinate is not finite.

        Raises
        ------
        MoleculeError
            As in `sample`.
        GenerationError
            If the generator has no density for the molecule.
        ValueError
            If N is not the number of atoms.
        """
        graph, where = as_graph(molecule), resolve_device(device)
        frames = graph.frames(positions)
        found = np.full(len(frames), -np.inf)
        finite = np.isfinite(frames).all(axis=(1, 2))
        if finite.any():
            found[finite] = self._log_density(graph, _mean_free(frames[finite]), where)
        return found

    @abc.abstractmethod
    def _draw_many(
        self, molecules: Sequence[MolecularGraph], counts: Sequence[int], seed: int, device: torch.device
    ) -> Iterator[tuple[int, Draws | ConfGFError]]:
        """Samples of each molecule, as they finish, or why there are none; sample k depends on the molecule, the seed and k alone."""

    @abc.abstractmethod
    def _log_density(self, graph: MolecularGraph, positions: NDArray[np.float64], device: torch.device) -> NDArray[np.float64]:
        """``log q`` (B,) of mean-free, finite positions (B, N, 3) in nm, B at least 1."""

    def _ensembles(
        self, molecules: Sequence[MolecularGraph], drawn: Iterator[tuple[int, Draws | ConfGFError]], seed: int
    ) -> Iterator[tuple[int, Ensemble | ConfGFError]]:
        for index, draws in drawn:
            if isinstance(draws, ConfGFError):
                yield index, draws
                continue
            graph, positions = molecules[index], _mean_free(draws.positions)
            provenance = Provenance(self.name, __version__, seed, self.weights_sha256, draws.settings | stereo_settings(graph))
            status = check_conformations(graph, positions)
            if draws.status is not None:
                status = np.where(draws.status == Status.OK, status, draws.status)
            diagnostics = draws.diagnostics
            if draws.energy is not None and draws.target is not None and draws.target.temperature is not None:
                diagnostics = worth(draws.log_q, draws.energy, status, draws.target.temperature) | diagnostics
            yield (
                index,
                Ensemble(
                    graph,
                    positions,
                    provenance,
                    status,
                    energy=draws.energy,
                    log_q=draws.log_q,
                    target=draws.target,
                    diagnostics=diagnostics,
                ),
            )


def _mean_free(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    return positions - positions.mean(axis=1, keepdims=True)


def worth(log_q: NDArray[np.float64], energy: NDArray[np.float64], status: NDArray[np.int8], temperature: float) -> dict[str, Any]:
    """What the weights of samples are worth, for `Ensemble.diagnostics`.

    Parameters
    ----------
    log_q : ndarray, (B,)
        nats.
    energy : ndarray, (B,)
        kJ/mol, +inf where there is none.
    status : ndarray of int8, (B,)
        A `Status` each.
    temperature : float
        K.

    Returns
    -------
    dict
        ``"ess_fraction"``, ``"k_hat"``, ``"trusted"``; empty where no sample has a weight.
    """
    logs = log_weights(log_q, energy, status, temperature)
    if not np.isfinite(logs).any():
        return {}
    found = diagnose(logs)
    return {"ess_fraction": found.ess_fraction, "k_hat": found.k_hat, "trusted": found.trusted}

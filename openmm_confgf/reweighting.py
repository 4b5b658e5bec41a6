"""Averages and free energies of an ensemble whose generator knows how probable each sample was."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .energies.batched.read_system import refuse_constraints
from .energies.context import ContextEnergy
from .energies.levels import Level, LevelLike, level_of
from .energies.scoring import score
from .ensemble import Ensemble
from .errors import ConfGFError
from .molecule_like import check_ensemble
from .molecules.geometry import dihedrals
from .molecules.graph import MolecularGraph
from .thermodynamics import averages, free_energies, profiles, resampling
from .thermodynamics.bootstrap import Estimate
from .thermodynamics.diagnostics import WeightDiagnostics, diagnose
from .thermodynamics.log_weights import log_weights
from .thermodynamics.mbar import mbar
from .thermodynamics.overlap import check_overlap
from .thermodynamics.profiles import TorsionProfile
from .thermodynamics.truncation import truncated
from .units import in_md_units, kT

_BEYOND = 10.0
"""nats that the weight of a frame of MD may have more than the largest of the samples before q is taken to know nothing of it."""

_MOST_BEYOND = 0.1
"""Share of such frames that is not taken for a tail."""


@dataclasses.dataclass(frozen=True)
class LogZ:
    """Logarithm of a configuration integral on the mean-free subspace, lengths in nm.

    Attributes
    ----------
    value, error : float
        nats; the error is for independent samples.
    overlap : float
        Between generator and target, 1 where they are the same, as in `mbar`.
    """

    value: float
    error: float
    overlap: float


@dataclasses.dataclass(frozen=True, eq=False)
class Reweighted:
    """An ensemble with its Boltzmann weights, made by `reweight`, `Reweighted.at_level` or `reweight_frames`.

    All rows take part; those without a finite energy have weight zero.

    Attributes
    ----------
    ensemble : Ensemble
    temperature : float
        K, of the weights.
    log_weights : ndarray of float64, (B,)
        Not normalised, after truncation; -inf where a weight is zero.
    diagnostics : WeightDiagnostics
        Whether they are to be trusted: look there first.
    log_density : ndarray of float64, (B,)
        Of what the samples were drawn from, in nats: ``log_q`` of a generator, or up to a constant that of frames.
    """

    ensemble: Ensemble
    temperature: float
    log_weights: NDArray[np.float64]
    diagnostics: WeightDiagnostics
    log_density: NDArray[np.float64]

    def average(self, observable: ArrayLike | Callable[[NDArray[np.float64]], ArrayLike]) -> Estimate:
        """The Boltzmann average of an observable with its bootstrap error, as `thermodynamics.averages.average`.

        Parameters
        ----------
        observable : array_like, (B,) or (B, K), or callable
            Its values for all samples, in any unit, or a function that makes them of all positions (B, N, 3) in nm.

        Raises
        ------
        ConfGFError
            If there is not one value of each sample, or one of a sample with a weight is not finite.
        """
        values = observable(self.ensemble.positions) if callable(observable) else observable
        return averages.average(values, self.log_weights)

    def mean_energy(self) -> Estimate:
        """The Boltzmann average of the potential energy, in kJ/mol."""
        assert self.ensemble.energy is not None
        return averages.average(self.ensemble.energy, self.log_weights)

    def torsions(self, atoms: ArrayLike) -> NDArray[np.float64]:
        """Torsions of all samples, weighted or not.

        Parameters
        ----------
        atoms : array_like of int, (4,) or (T, 4)
            From 0.

        Returns
        -------
        ndarray of float64, (B,) or (B, T)
            Radians, (-pi, pi], 0 for cis; NaN where a position is, or three atoms are in line.

        Raises
        ------
        ConfGFError
            If there are not four different atoms of the molecule each.
        """
        quadruples = np.asarray(atoms)
        right = quadruples.dtype.kind in "iu" and quadruples.ndim in (1, 2) and quadruples.shape[-1] == 4
        rows = quadruples.reshape(-1, 4) if right else np.empty((0, 4), np.int64)
        if not len(rows) or not all(len(set(row)) == 4 and 0 <= min(row) and max(row) < len(self.ensemble.graph) for row in rows.tolist()):
            raise ConfGFError(f"{quadruples.tolist()} is no torsion; give four different atoms from 0 to {len(self.ensemble.graph) - 1}.")
        found = dihedrals(torch.from_numpy(self.ensemble.positions.copy()), torch.from_numpy(rows.astype(np.int64))).numpy()
        return found[:, 0] if quadruples.ndim == 1 else found

    def profile(self, atoms: ArrayLike, bins: int = 36) -> TorsionProfile:
        """The free energy along one torsion, or over the plane of two, as `thermodynamics.profiles.torsion_profile`.

        Parameters
        ----------
        atoms : array_like of int, (4,) or (2, 4)
            From 0.
        bins : int
            Of each torsion.

        Raises
        ------
        ConfGFError
            If there are not four different atoms of the molecule each, or three of them are in line in a sample with a weight.
        """
        return profiles.torsion_profile(self.torsions(atoms), self.log_weights, self.temperature, bins=bins)

    def free_energy_difference(self, first: ArrayLike, second: ArrayLike) -> Estimate:
        """``F(second) - F(first)`` in kJ/mol, as `thermodynamics.free_energies.free_energy_difference`.

        Parameters
        ----------
        first, second : array_like of bool, (B,)
            Which samples are in each state.

        Raises
        ------
        ConfGFError
            If a mask has another length, or none of its samples has a weight.
        """
        return free_energies.free_energy_difference(first, second, self.log_weights, self.temperature)

    def at_level(self, level: LevelLike) -> Reweighted:
        """The same samples with the weights of another force field or level of theory, at the same temperature.

        Every sample is evaluated there, and weighed by ``-u - log q`` anew: what the weights here are worth does not matter, and truncation
        is not taken over. The warning is that of `reweight`.

        Parameters
        ----------
        level : str, Level, openmm.System, SystemBuilder, ForceField, SystemGenerator or callable
            As in `score`, without constraints: ``"gaff-2.2.20"``, ``"gfn2"``, or a System with torsions of your own.

        Raises
        ------
        WrongTypeError, ForceFieldError, PlatformError
            As in `score`.
        UnsupportedForceError
            If its System has constraints.
        ConfGFError
            If the samples are not enough for both levels (`check_overlap`), or as in `log_weights`.
        """
        theory = free_level(level, self.ensemble.graph)
        scored = score(self.ensemble, theory)
        logs = log_weights(self.log_density, scored.energy, scored.status, self.temperature)
        before = log_weights(self.log_density, self.ensemble.energy, self.ensemble.status, self.temperature)
        check_overlap(before, logs, f"{_name(self.ensemble)} and {theory.name}")
        found = weighed_rows(scored, self.temperature, logs, self.log_density)
        if not found.diagnostics.trusted:
            warnings.warn(found.diagnostics.verdict, stacklevel=2)
        return found

    def free_energy_above(self, other: Reweighted) -> Estimate:
        """The free energy of this level less that of another one in kJ/mol, from the same samples (`free_energies.free_energy_between`).

        Energies of force fields have zeros of their own, which it contains: differences of it between molecules, or between two states of
        one (`free_energy_difference` in each), are what can be compared.

        Parameters
        ----------
        other : Reweighted
            What this one was made of by `at_level`, or the reverse; or both of one `reweight_frames`.

        Raises
        ------
        ConfGFError
            If they are of different samples or temperatures, the weights of either are not to be trusted, or the samples are not enough
            for both (`check_overlap`).
        """
        same = np.array_equal(self.log_density, other.log_density) and np.array_equal(self.ensemble.positions, other.ensemble.positions)
        if not same or self.temperature != other.temperature:
            raise ConfGFError(
                "The weights are of different samples or temperatures; make one of the other by at_level, or of frames by reweight_frames."
            )
        for one in (other, self):
            if not one.diagnostics.trusted:
                raise ConfGFError(f"There is no free energy of {_name(one.ensemble)}. {one.diagnostics.verdict}")
        check_overlap(other.log_weights, self.log_weights, f"{_name(other.ensemble)} and {_name(self.ensemble)}")
        return free_energies.free_energy_between(other.log_weights, self.log_weights, self.temperature)

    def resample(self, n: int | None = None, seed: int = 0) -> Ensemble:
        """Samples without weights, each as often as its weight says (`thermodynamics.resampling.resample`), without ``log_q``.

        Parameters
        ----------
        n : int, optional
            By default as many as there are.
        seed : int

        Raises
        ------
        ConfGFError
            If n is less than 1.
        """
        count = len(self.ensemble) if n is None else n
        picked = self.ensemble.select(resampling.resample(self.log_weights, count, seed))
        provenance = self.ensemble.provenance
        settings = provenance.settings | {
            "resampled": {"temperature": self.temperature, "seed": seed, "truncated": self.diagnostics.truncated}
        }
        return picked.replace(provenance=dataclasses.replace(provenance, settings=settings))

    def log_z_with_md(self, md: Ensemble, log_q: ArrayLike) -> LogZ:
        """Log Z from these samples and from MD frames of the same target together: BAR, where `diagnostics` have it from the samples alone.

        It stands where the generator lacks the target's tails, as long as both overlap. Frames of MD are correlated: give every g-th, g
        their `statistical_inefficiency`. Atoms that are alike, such as the hydrogens of CH2, have one labelling in the generator's samples,
        and no motion exchanges them: let the simulation start from samples.

        Parameters
        ----------
        md : Ensemble
            Frames of equilibrium at this temperature, with energies of the same System.
        log_q : array_like, (M,)
            The generator's density at the frames: ``generator.log_prob(md.graph, md.positions)``.

        Raises
        ------
        ConfGFError
            If the samples are no generator's; if the frames are of another molecule, System or temperature, or have no finite energies or
            no density each; if they do not overlap with the samples, or a tenth of them is where the generator has nearly no density.
        """
        mine, other, density = self.ensemble, md, np.asarray(log_q, np.float64)
        if mine.log_q is None:
            raise ConfGFError("These samples are frames, which have no log_q; weigh those of a generator, or take reweight_frames.")
        if not mine.graph.same_as(other.graph):
            raise ConfGFError(
                f"The frames are of {other.graph.name!r}, the samples of {mine.graph.name!r}; give frames of the same molecule."
            )
        if other.energy is None or not np.isfinite(other.energy).all():
            raise ConfGFError("Not all frames have a finite energy; score them first, and leave out those without.")
        if density.shape != (len(other),):
            raise ConfGFError(f"log_q has shape {density.shape} for {len(other)} frames; give the generator's log_prob at each.")
        if mine.target and other.target:
            if None not in (pair := {mine.target.system_sha256, other.target.system_sha256}) and len(pair) > 1:
                raise ConfGFError("The energies of the frames and of the samples are of two Systems; score both with the same.")
            if (of_frames := other.target.temperature) is not None and abs(of_frames - self.temperature) > 1e-6:
                raise ConfGFError(f"The frames are at {of_frames:g} K, the weights at {self.temperature:g} K; give frames of the same.")
        assert mine.energy is not None
        # log_q is finite where the energy is, and rows without one have no part in the other state
        drawn = np.where(np.isfinite(mine.log_q), mine.log_q, 0.0)
        energies = np.concatenate([mine.energy, other.energy]) / kT(self.temperature)
        log_w = -energies - np.concatenate([drawn, density])
        beyond = int((log_w[len(mine) :] > log_w[: len(mine)].max() + _BEYOND).sum())
        if beyond > _MOST_BEYOND * len(other):
            raise ConfGFError(
                f"The generator has nearly no density at {beyond} of {len(other)} frames: atoms that are alike are labelled otherwise, "
                "or it lacks a state. Start the simulation from samples of the generator, or train it on such frames."
            )
        found = mbar([np.concatenate([-drawn, -density]), energies], [len(mine), len(other)])
        return LogZ(-float(found.free_energies[1]), float(found.errors[1]), float(found.overlap[0, 1]))


def reweight(ensemble: Ensemble, temperature: Any = None, truncate: float | None = None) -> Reweighted:
    """Boltzmann weights of an ensemble, with what they say of themselves; a warning is given where they are not to be trusted.

    All rows take part: a clash has its energy; NON_FINITE and WRONG_STEREO rows have weight zero and are counted.

    Parameters
    ----------
    ensemble : Ensemble
        With ``log_q`` and energies.
    temperature : float or Quantity, optional
        K; that of the ensemble's target by default. At another one the weights are right, too, and their spread tells how far it is.
    truncate : float, optional
        The fraction of samples whose weights are lowered to the largest of the others, such as 0.001. Averages are then biased.

    Raises
    ------
    WrongTypeError
        If it is no Ensemble.
    ConfGFError
        If there is no log_q, no energy or no temperature, samples have FAILED, none has a weight, or the fraction is out of range.
    ValueError
        If the temperature is none, as in `kT`.
    """
    check_ensemble(ensemble, "reweight")
    if temperature is None and ensemble.target is not None:
        temperature = ensemble.target.temperature
    logs = log_weights(ensemble.log_q, ensemble.energy, ensemble.status, temperature)
    assert ensemble.log_q is not None
    found = weighed_rows(ensemble, float(in_md_units(temperature)), logs, ensemble.log_q, truncate)
    if not found.diagnostics.trusted:
        warnings.warn(found.diagnostics.verdict, stacklevel=2)
    return found


def weighed_rows(
    ensemble: Ensemble,
    temperature: float,
    log_w: NDArray[np.float64],
    log_density: NDArray[np.float64],
    truncate: float | None = None,
) -> Reweighted:
    """Samples with weights that are known, and what these say of themselves.

    Parameters
    ----------
    ensemble : Ensemble
        With energies.
    temperature : float
        K.
    log_w, log_density : ndarray, (B,)
        As in `Reweighted`, before truncation.
    truncate : float, optional
        As in `reweight`.
    """
    kept = log_w if truncate is None else truncated(log_w, truncate)[0]
    return Reweighted(ensemble, temperature, kept, diagnose(log_w, truncate), log_density)


def free_level(level: LevelLike, graph: MolecularGraph) -> Level:
    """A level of theory, once it is known to leave the molecule's atoms free.

    Parameters
    ----------
    level : Level, or whatever `level_of` takes
    graph : MolecularGraph

    Raises
    ------
    UnsupportedForceError
        If its System has constraints.
    WrongTypeError, ForceFieldError
        As in `level_of` and `Level.energy`.
    """
    theory = level_of(level)
    energy = theory.energy(graph)
    if isinstance(energy, ContextEnergy):
        with energy:
            refuse_constraints(energy.system)
    return theory


def _name(ensemble: Ensemble) -> str:
    return (ensemble.target and ensemble.target.forcefield) or "the first level"

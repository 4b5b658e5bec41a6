"""What every `Energy` must do, as tests for pytest.

In a test file of your own, with an energy and a few conformations of its molecule as fixtures::

    class TestMyEnergy(EnergySuite):
        energy_tolerance = 1e-3  # computed in float32

        @pytest.fixture(scope="class")
        def energy(self):
            return MyEnergy("ethanol.xyz")

        @pytest.fixture(scope="class")
        def conformations(self):
            return generate("CCO", 4, generator="etkdg").positions
"""

from __future__ import annotations

import unittest
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from openmm import unit

from ..energies import DifferentiableEnergy, Energy, EnergyResult
from ..status import Status

Frames = NDArray[np.float64]


class EnergySuite:
    """Tests of an `Energy`. A subclass whose name begins with ``Test`` gives two fixtures, and says what is not as below.

    The fixture ``energy`` is the Energy; ``conformations`` is an array (B, N, 3) in nm of at least two conformations that differ in their
    energies and can all be evaluated. Every method that begins with ``test_`` can be called by itself with these two as well; it raises
    AssertionError where the energy is not what it should be.

    Attributes
    ----------
    has_forces : bool
        Whether `evaluate` gives forces.
    translation_invariant : bool
        Whether energies stay the same where all atoms are moved alike.
    energy_tolerance : float
        kJ/mol, by which the energies of one conformation may differ between batches, and after a translation.
    force_tolerance : float
        The same of forces, as a fraction of the largest force component.
    difference : float
        nm, half the length of a finite difference.
    gradient_tolerance : float
        By which it may differ from the forces, as a fraction of their norm.
    """

    has_forces: bool = True
    translation_invariant: bool = True
    energy_tolerance: float = 1e-5
    force_tolerance: float = 1e-6
    difference: float = 1e-5
    gradient_tolerance: float = 1e-4

    def test_shapes_and_types(self, energy: Energy, conformations: Frames) -> None:
        """Energies (B,) in float64, statuses (B,) in int8, forces (B, N, 3) in float64, or None where they are not asked for."""
        result = self._evaluated(energy, conformations, False)
        _check(result.ok.all(), f"conformations of the suite must all be OK; they are {[Status(s).name for s in result.status]}")
        _check(len(set(result.energy)) == len(conformations) > 1, "give the suite two conformations or more, of different energies")
        if self.has_forces:
            self._same(self._evaluated(energy, conformations, True), result)

    def test_one_conformation_is_a_batch_of_one(self, energy: Energy, conformations: Frames) -> None:
        """(N, 3) is taken for (1, N, 3)."""
        whole = self._evaluated(energy, conformations)
        self._same(self._evaluated(energy, conformations[1], shape=(1, *conformations.shape[1:])), _rows(whole, [1]))

    def test_an_empty_batch(self, energy: Energy, conformations: Frames) -> None:
        """(0, N, 3), and an empty list, give as many energies."""
        given: tuple[Any, ...] = (conformations[:0], [])
        for empty in given:
            self._evaluated(energy, empty, shape=conformations[:0].shape)

    def test_order_and_batch_change_nothing(self, energy: Energy, conformations: Frames) -> None:
        """The result of a conformation does not depend on its place, on the others, or on their number."""
        whole, count = self._evaluated(energy, conformations), len(conformations)
        orders = [list(range(count))[::-1], [0] * 3 + [1], [*range(count)] * 3, *([i] for i in range(count))]
        for order in orders:
            self._same(self._evaluated(energy, conformations[order]), _rows(whole, order))

    def test_bad_conformations_are_told_and_disturb_no_other(self, energy: Energy, conformations: Frames) -> None:
        """Rows with NaN or infinities are NON_FINITE, with energy +inf and forces NaN; all other rows are as without them."""
        clean = self._evaluated(energy, conformations)
        bad = np.repeat(conformations[:1], 4, axis=0)
        bad[0, 0, 0], bad[1, -1, 2], bad[2, 0], bad[3] = np.nan, np.inf, -np.inf, np.nan
        mixed = np.concatenate([bad[:1], conformations[:1], bad[1:3], conformations[1:], bad[3:]])
        places = np.array([1, *range(4, 3 + len(conformations))])
        result = self._evaluated(energy, mixed)
        for found in (np.delete(result.status, places), self._evaluated(energy, bad).status):
            _check((found == Status.NON_FINITE).all(), f"NaN and infinite rows are {[Status(s).name for s in found]}, not NON_FINITE")
        self._same(_rows(result, places), clean)
        self._same(self._evaluated(energy, conformations), clean)

    def test_quantities_and_lists(self, energy: Energy, conformations: Frames) -> None:
        """Bare numbers are nm; Quantities are converted, arrays and lists alike."""
        clean, shape = self._evaluated(energy, conformations), conformations.shape
        angstrom = conformations * 10
        for given in (angstrom * unit.angstrom, angstrom.tolist() * unit.angstrom, conformations.tolist()):
            self._same(self._evaluated(energy, given, shape=shape), clean)

    def test_the_wrong_number_of_atoms(self, energy: Energy, conformations: Frames) -> None:
        """One atom less or more is a ValueError that names both numbers."""
        n_atoms = conformations.shape[1]
        for wrong in (conformations[:, 1:], conformations[0, 1:], np.concatenate([conformations, conformations[:, :1]], 1)):
            given = wrong.shape[-2]
            try:
                energy.evaluate(wrong)
            except ValueError as error:
                named = str(n_atoms) in str(error) and str(given) in str(error)
                _check(named, f"the error for {given} atoms must say so, and that there should be {n_atoms}; it is: {error}")
            except Exception as error:
                raise AssertionError(f"{given} atoms instead of {n_atoms} must be a ValueError, not {error!r}") from error
            else:
                raise AssertionError(f"{given} atoms are taken where there should be {n_atoms}; raise a ValueError that names both")

    def test_positions_and_earlier_results_are_left_alone(self, energy: Energy, conformations: Frames) -> None:
        """An evaluation writes neither to the positions nor to what another one returned, and gives the same once more."""
        given = conformations.copy()
        first = self._evaluated(energy, given)
        kept = _rows(first, np.arange(len(given)))
        _check(np.array_equal(given, conformations), "evaluate writes to the positions that it is given; let it work on a copy")
        self._evaluated(energy, conformations[::-1].copy())
        for what in ("energy", "forces", "status"):
            before, now = getattr(kept, what), getattr(first, what)
            same = before is None or np.array_equal(before, now, equal_nan=True)
            _check(same, f"a second evaluation writes to the {what} that the first one returned; let it return new arrays")
        self._same(self._evaluated(energy, given), kept)

    def test_forces_are_minus_the_gradient(self, energy: Energy, conformations: Frames) -> None:
        """Forces agree with central differences of the energies, along two random directions for each conformation."""
        self._skip_unless(self.has_forces, "this energy has no forces")
        forces = self._evaluated(energy, conformations, True).forces
        assert forces is not None  # for type checkers; that there are some was tested just before
        norms = np.sqrt((forces**2).sum((1, 2)))
        for seed in range(2):
            along = np.random.default_rng(seed).normal(size=conformations.shape)
            along /= np.sqrt((along**2).sum((1, 2), keepdims=True))
            up, down = (self._evaluated(energy, conformations + step * along, False) for step in (self.difference, -self.difference))
            slope, wanted = (up.energy - down.energy) / (2 * self.difference), -(forces * along).sum((1, 2))
            off = np.abs(slope - wanted) / np.maximum(norms, 1e-6)
            _check(
                (off <= self.gradient_tolerance).all(),
                f"forces differ from minus the gradient by up to {off.max():.1e} of their norm; check their sign and unit (kJ/mol/nm), or "
                "raise gradient_tolerance if energies are no more exact",
            )

    def test_a_translation_changes_nothing(self, energy: Energy, conformations: Frames) -> None:
        """Energies and forces are those of before where all atoms are moved alike."""
        self._skip_unless(self.translation_invariant, "this energy depends on where the molecule is")
        self._same(self._evaluated(energy, conformations + np.array([0.5, -1.0, 2.0])), self._evaluated(energy, conformations))

    @staticmethod
    def _skip_unless(condition: bool, reason: str) -> None:
        if not condition:
            raise unittest.SkipTest(reason)  # which pytest knows

    def _evaluated(self, energy: Energy, positions: Any, forces: bool | None = None, shape: Sequence[int] | None = None) -> EnergyResult:
        """An evaluation whose result has the form that it must have; with forces if there are any, unless it is said otherwise."""
        wanted = self.has_forces if forces is None else forces
        count, n_atoms, _ = positions.shape if shape is None else shape
        result = energy.evaluate(positions, wanted)
        _check(isinstance(result, EnergyResult), f"evaluate must return an EnergyResult, not {type(result).__name__}")
        _check_array("energies", result.energy, (count,), np.float64)
        _check_array("statuses", result.status, (count,), np.int8)
        known = (Status.OK, Status.NON_FINITE, Status.FAILED)
        _check(np.isin(result.status, known).all(), f"statuses must be OK, NON_FINITE or FAILED; they are {result.status.tolist()}")
        _check(np.isfinite(result.energy[result.ok]).all(), "an energy that is not finite is called OK; it must be NON_FINITE or FAILED")
        _check(np.isposinf(result.energy[~result.ok]).all(), "the energy of a conformation that is not OK must be +inf")
        if not wanted:
            _check(result.forces is None, "forces must be None where they are not asked for")
        else:
            _check(result.forces is not None, "forces are missing; give them, or say has_forces = False")
            assert result.forces is not None
            _check_array("forces", result.forces, (count, n_atoms, 3), np.float64)
            _check(np.isfinite(result.forces[result.ok]).all(), "forces that are not finite are called OK; the status must be NON_FINITE")
            _check(np.isnan(result.forces[~result.ok]).all(), "the forces of a conformation that is not OK must be NaN")
        return result

    def _same(self, found: EnergyResult, wanted: EnergyResult) -> None:
        """Raise unless two results of the same conformations agree."""
        _check(np.array_equal(found.status, wanted.status), f"statuses were {wanted.status.tolist()}, and are {found.status.tolist()} now")
        off = np.abs(found.energy[found.ok] - wanted.energy[found.ok]).max(initial=0.0)
        _check(off <= self.energy_tolerance, f"energies of the same conformations differ by {off:.1e} kJ/mol")
        if found.forces is not None and wanted.forces is not None and found.ok.any():
            largest = np.abs(wanted.forces[found.ok]).max()
            off = np.abs(found.forces[found.ok] - wanted.forces[found.ok]).max()
            within = off <= self.force_tolerance * largest
            _check(within, f"forces of the same conformations differ by {off:.1e} kJ/mol/nm, where the largest is {largest:.1e}")


class DifferentiableEnergySuite(EnergySuite):
    """Tests of a `DifferentiableEnergy`, those of an `EnergySuite` among them."""

    def test_energies_in_torch_are_those_of_evaluate(self, energy: DifferentiableEnergy, conformations: Frames) -> None:
        """(B,), in the type of the positions."""
        wanted = self._evaluated(energy, conformations).energy
        for dtype in (torch.float64, torch.float32):
            found = energy.energy(torch.tensor(conformations, dtype=dtype))
            _check(found.dtype == dtype and found.shape == wanted.shape, f"energies of {dtype} are {found.dtype} {tuple(found.shape)}")
        exact = energy.energy(torch.tensor(conformations)).detach().numpy()
        off = np.abs(exact - wanted).max()
        _check(off <= self.energy_tolerance, f"energies in torch differ from those of evaluate by {off:.1e} kJ/mol")

    def test_gradients_in_torch_are_minus_the_forces(self, energy: DifferentiableEnergy, conformations: Frames) -> None:
        """The gradient of a weighted sum is that of the weights and forces, and no other conformation's."""
        self._skip_unless(self.has_forces, "this energy has no forces to compare with")
        forces = self._evaluated(energy, conformations, True).forces
        assert forces is not None
        weights = np.arange(1.0, 1 + len(conformations))
        positions = torch.tensor(conformations, requires_grad=True)
        (energy.energy(positions) @ torch.tensor(weights)).backward()
        assert positions.grad is not None
        off = np.abs(positions.grad.numpy() + weights[:, None, None] * forces).max()
        largest = np.abs(forces).max() * weights.max()
        _check(
            off <= self.force_tolerance * largest,
            f"gradients differ from minus the forces by {off:.1e} kJ/mol/nm, where the largest is {largest:.1e}",
        )

    def test_bad_conformations_have_no_gradient(self, energy: DifferentiableEnergy, conformations: Frames) -> None:
        """Energy +inf and gradient zero, so that they spoil no training step; the others are as without them."""
        given = np.concatenate([conformations, conformations[:1]])
        given[-1, 0, 0] = np.nan
        results = []
        for frames in (given, given[:-1]):
            positions = torch.tensor(frames, requires_grad=True)
            found = energy.energy(positions)
            found[: len(conformations)].sum().backward()
            assert positions.grad is not None
            results.append((found.detach(), positions.grad))
        (mixed, gradient), (clean, alone) = results
        _check(bool(torch.isposinf(mixed[-1])), f"the energy of a conformation with NaN is {float(mixed[-1])} in torch, not +inf")
        _check(bool((gradient[-1] == 0).all()), "the gradient of a conformation with NaN must be zero")
        off = float((mixed[:-1] - clean).abs().max())
        _check(off <= self.energy_tolerance, f"a conformation with NaN changes the energies of others by {off:.1e} kJ/mol")
        off, largest = float((gradient[:-1] - alone).abs().max()), float(alone.abs().max())
        _check(off <= self.force_tolerance * largest, f"a conformation with NaN changes the gradients of others by {off:.1e} kJ/mol/nm")


def _check(condition: Any, message: str) -> None:
    """An assert that tells, and that ``python -O`` keeps: pytest explains those of test files alone."""
    if not condition:
        raise AssertionError(message)


def _check_array(what: str, array: Any, shape: tuple[int, ...], dtype: type) -> None:
    _check(isinstance(array, np.ndarray), f"{what} must be an ndarray, not {type(array).__name__}")
    _check(array.shape == shape and array.dtype == dtype, f"{what} must be {np.dtype(dtype)} {shape}; they are {array.dtype} {array.shape}")


def _rows(result: EnergyResult, rows: Any) -> EnergyResult:
    """Copies of some rows."""
    forces = None if result.forces is None else result.forces[rows]
    return EnergyResult(result.energy[rows], forces, result.status[rows])

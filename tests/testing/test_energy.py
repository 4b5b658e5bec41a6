"""The suite passes what is right and catches what is not: energies of springs in NumPy, as a user would write them, broken one by one."""

import unittest

import numpy as np
import pytest
import torch
from openmm import unit

from openmm_confgf.energies import EnergyResult
from openmm_confgf.status import Status
from openmm_confgf.testing import DifferentiableEnergySuite, EnergySuite

LENGTH, STIFFNESS = 0.15, 2e4


class Springs:
    """A chain of atoms on springs."""

    n_atoms = 4

    def take(self, positions):
        if unit.is_quantity(positions):
            positions = positions.value_in_unit(unit.nanometer)
        frames = np.array(positions, float)
        frames = np.empty((0, self.n_atoms, 3)) if frames.shape == (0,) else frames.reshape(-1, *frames.shape[-2:])
        if frames.shape[1] != self.n_atoms:
            raise ValueError(f"The positions have {frames.shape[1]} atoms, but the chain has {self.n_atoms}; give (B, {self.n_atoms}, 3).")
        return frames

    def compute(self, frames):
        """Energies (B,) and forces (B, N, 3)."""
        bonds = np.diff(frames, axis=1)
        lengths = np.linalg.norm(bonds, axis=-1)
        pulls = (STIFFNESS * (1 - LENGTH / lengths))[..., None] * bonds
        forces = np.zeros_like(frames)
        forces[:, :-1] += pulls
        forces[:, 1:] -= pulls
        return STIFFNESS / 2 * ((lengths - LENGTH) ** 2).sum(1), forces

    def evaluate(self, positions, forces=False):
        with np.errstate(all="ignore"):
            energy, gradients = self.compute(self.take(positions))
        ok = np.isfinite(energy) & np.isfinite(gradients).all((1, 2))
        energy[~ok], gradients[~ok] = np.inf, np.nan
        return EnergyResult(energy, gradients if forces else None, np.where(ok, Status.OK, Status.NON_FINITE).astype(np.int8))


class TorchSprings(Springs):
    def energy(self, positions):
        usable = torch.isfinite(positions).all(-1).all(-1)
        known = torch.where(usable[:, None, None], positions, torch.arange(3 * self.n_atoms).reshape(-1, 3).to(positions))
        energy = STIFFNESS / 2 * ((known.diff(dim=1).norm(dim=-1) - LENGTH) ** 2).sum(1)
        return torch.where(usable, energy, torch.inf)


@pytest.fixture(scope="module")
def conformations():
    return np.random.default_rng(0).normal([LENGTH, 0, 0], 0.03, (4, 4, 3)).cumsum(axis=1)


class TestSprings(EnergySuite):
    @pytest.fixture
    def energy(self):
        return Springs()


class TestSpringsInTorch(DifferentiableEnergySuite):
    @pytest.fixture
    def energy(self):
        return TorchSprings()


class WithoutForces(Springs):
    def evaluate(self, positions, forces=False):
        return super().evaluate(positions)


class TestSpringsWithoutForces(EnergySuite):
    has_forces = False

    @pytest.fixture
    def energy(self):
        return WithoutForces()


class Tethered(Springs):
    def compute(self, frames):
        energy, forces = super().compute(frames)
        return energy + 50 * (frames[:, 0] ** 2).sum(-1), forces - 100 * frames * (np.arange(self.n_atoms) == 0)[:, None]


class TestTetheredSprings(EnergySuite):
    translation_invariant = False

    @pytest.fixture
    def energy(self):
        return Tethered()


def changed(name, change):
    """Springs whose result is changed after an evaluation."""

    def evaluate(self, positions, forces=False):
        result = Springs.evaluate(self, positions, forces)
        return EnergyResult(*change(result.energy, result.forces, result.status))

    return type(name, (Springs,), {"evaluate": evaluate})


class TakesAnyNumberOfAtoms(Springs):
    def take(self, positions):
        frames = np.array(positions.value_in_unit(unit.nanometer) if unit.is_quantity(positions) else positions, float)
        return np.empty((0, 4, 3)) if frames.shape == (0,) else frames.reshape(-1, *frames.shape[-2:])


class NamesNoNumbers(Springs):
    def take(self, positions):
        try:
            return super().take(positions)
        except ValueError as error:
            raise ValueError("The shape is wrong.") from error


class RaisesAnother(Springs):
    def take(self, positions):
        try:
            return super().take(positions)
        except ValueError as error:
            raise RuntimeError(*error.args) from error


class StripsUnits(Springs):
    def take(self, positions):
        return super().take(positions._value if unit.is_quantity(positions) else positions)


class TakesArraysOnly(Springs):
    raises = AttributeError

    def take(self, positions):
        return super().take(positions if unit.is_quantity(positions) else positions.astype(float))


class NoSingleConformation(Springs):
    def take(self, positions):
        frames = super().take(positions)
        return frames if np.ndim(positions) == 3 or unit.is_quantity(positions) or not len(frames) else np.repeat(frames, 2, axis=0)


class NothingIsAnError(Springs):
    raises = ValueError

    def compute(self, frames):
        return super().compute(frames - 0 * np.nanmax(frames))


class AboveTheLowest(Springs):
    def compute(self, frames):
        energy, forces = super().compute(frames)
        return energy - (energy[np.isfinite(energy)].min() if np.isfinite(energy).any() else 0.0), forces


class Poisoned(Springs):
    """One bad row costs the batch."""

    def compute(self, frames):
        energy, forces = super().compute(frames)
        return energy + 0 * energy.sum(), forces


class StaysPoisoned(Springs):
    shift = 0.0

    def compute(self, frames):
        energy, forces = super().compute(frames)
        self.shift += float(not np.isfinite(frames).all())
        return energy + self.shift, forces


class SwapsRows(Springs):
    def evaluate(self, positions, forces=False):
        result = super().evaluate(positions, forces)
        order = np.argsort(result.energy)
        return EnergyResult(result.energy[order], None if result.forces is None else result.forces[order], result.status[order])


class Centres(Springs):
    def evaluate(self, positions, forces=False):
        if isinstance(positions, np.ndarray) and positions.ndim == 3:
            positions -= np.nan_to_num(positions).mean(axis=1, keepdims=True)
        return super().evaluate(positions, forces)


class OneBuffer(Springs):
    def __init__(self):
        self.kept = {}

    def evaluate(self, positions, forces=False):
        result = super().evaluate(positions, forces)
        buffer = self.kept.setdefault(len(result.energy), result.energy)
        buffer[:] = result.energy
        return EnergyResult(buffer, result.forces, result.status)


BROKEN = {
    "test_shapes_and_types": [
        changed("SinglePrecision", lambda energy, forces, status: (energy.astype(np.float32), forces, status)),
        changed("Int64Statuses", lambda energy, forces, status: (energy, forces, status.astype(int))),
        changed("NoForces", lambda energy, forces, status: (energy, None, status)),
        changed("AColumn", lambda energy, forces, status: (energy[:, None], forces, status)),
        changed("Unasked", lambda energy, forces, status: (energy, np.zeros((len(energy), 4, 3)), status)),
        changed("NeverOK", lambda energy, forces, status: (energy * 0 + np.inf, forces, np.full_like(status, Status.FAILED))),
        changed("Clashes", lambda energy, forces, status: (energy * 0 + np.inf, forces, np.full_like(status, Status.CLASH))),
        changed("Constant", lambda energy, forces, status: (energy * 0, forces, status)),
        type("ATuple", (Springs,), {"evaluate": lambda self, positions, forces=False: tuple(self.compute(self.take(positions)))}),
    ],
    "test_one_conformation_is_a_batch_of_one": [NoSingleConformation],
    "test_an_empty_batch": [NothingIsAnError, TakesArraysOnly],
    "test_order_and_batch_change_nothing": [AboveTheLowest, SwapsRows],
    "test_bad_conformations_are_told_and_disturb_no_other": [
        Poisoned,
        StaysPoisoned,
        changed("CallsThemOK", lambda energy, forces, status: (energy, forces, status * 0)),
        changed("CallsThemFailed", lambda energy, forces, status: (energy, forces, status * np.int8(Status.FAILED))),
        changed("NaN", lambda energy, forces, status: (np.where(status == 0, energy, np.nan), forces, status)),
        changed("ZeroForces", lambda energy, forces, status: (energy, None if forces is None else np.nan_to_num(forces), status)),
    ],
    "test_quantities_and_lists": [StripsUnits, TakesArraysOnly],
    "test_the_wrong_number_of_atoms": [TakesAnyNumberOfAtoms, NamesNoNumbers, RaisesAnother],
    "test_positions_and_earlier_results_are_left_alone": [Centres, OneBuffer],
    "test_forces_are_minus_the_gradient": [
        changed("Gradients", lambda energy, forces, status: (energy, None if forces is None else -forces, status)),
        changed("Angstrom", lambda energy, forces, status: (energy, None if forces is None else forces / 10, status)),
        changed("OneAtom", lambda energy, forces, status: (energy, None if forces is None else forces * [[1], [1], [1], [0.99]], status)),
    ],
    "test_a_translation_changes_nothing": [Tethered],
}


@pytest.mark.parametrize(("test", "broken"), [(test, one) for test, several in BROKEN.items() for one in several], ids=str)
def test_what_is_broken_is_found(test, broken, conformations):
    getattr(EnergySuite(), test)(Springs(), conformations.copy())
    with pytest.raises(getattr(broken, "raises", AssertionError)):  # what it raises by itself is as good a failure
        getattr(EnergySuite(), test)(broken(), conformations.copy())


def test_every_test_of_the_suite_can_fail():
    assert set(BROKEN) == {name for name in dir(EnergySuite) if name.startswith("test_")}


class Doubled(TorchSprings):
    def energy(self, positions):
        return 2 * super().energy(positions)


class Float64Always(TorchSprings):
    def energy(self, positions):
        return super().energy(positions.double())


class Detached(TorchSprings):
    def energy(self, positions):
        energy = super().energy(positions)
        return energy.detach() + 0 * energy.nan_to_num(posinf=0.0)


class Unmasked(TorchSprings):
    def energy(self, positions):
        return STIFFNESS / 2 * ((positions.diff(dim=1).norm(dim=-1) - LENGTH) ** 2).sum(1)


class SharedGradient(TorchSprings):
    def energy(self, positions):
        energy = super().energy(positions)
        return energy + (energy - energy.detach()).nan_to_num(posinf=0.0, nan=0.0).sum()


@pytest.mark.parametrize(
    ("test", "broken"),
    [
        ("test_energies_in_torch_are_those_of_evaluate", Doubled),
        ("test_energies_in_torch_are_those_of_evaluate", Float64Always),
        ("test_gradients_in_torch_are_minus_the_forces", Detached),
        ("test_gradients_in_torch_are_minus_the_forces", SharedGradient),
        ("test_bad_conformations_have_no_gradient", Unmasked),
    ],
)
def test_what_is_broken_in_torch_is_found(test, broken, conformations):
    getattr(DifferentiableEnergySuite(), test)(TorchSprings(), conformations)
    with pytest.raises(AssertionError):
        getattr(DifferentiableEnergySuite(), test)(broken(), conformations)


def test_what_is_not_claimed_is_skipped(conformations):
    suite = EnergySuite()
    suite.has_forces = suite.translation_invariant = False
    for test in (suite.test_forces_are_minus_the_gradient, suite.test_a_translation_changes_nothing):
        with pytest.raises(unittest.SkipTest):
            test(Springs(), conformations)

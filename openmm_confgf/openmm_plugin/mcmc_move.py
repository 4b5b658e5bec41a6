"""GeneratorMCMCMove: moves to fresh samples of a generator for the samplers of openmmtools."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from ..devices import Device
from ..errors import ConfGFError
from ..generators.base import Generator
from ..molecule_like import MoleculeLike, as_graph
from ..status import Status
from .generator_move import check_density, check_moved_system


class GeneratorMCMCMove:
    """An openmmtools ``MCMCMove`` that proposes samples of a generator, accepted as in `GeneratorMove`.

    ``MCMCSampler``, ``SequenceMove`` and the multistate samplers take it as one of their own moves: openmmtools knows an MCMCMove by its
    method `apply`. Acceptance needs the density of what is proposed, which ``MetropolizedMove`` has no place for. The target is that of
    each thermodynamic state, whatever the generator was trained for.

    A copy draws samples of its own, so that replicas are independent of each other.

    Parameters
    ----------
    generator : Generator
        A `DensityGenerator`: ``"boltzmann"``, ``"tbg"``, `HarmonicGenerator` or one of your own.
    molecule : str, rdkit.Chem.Mol, openff.toolkit.Molecule, openmm.app.Topology or MolecularGraph
        In the atom order of the System, which is of it alone, without box, constraints and virtual sites.
    pool : int
        Samples that are drawn at once.
    seed : int or numpy.random.SeedSequence
    device : str, int or torch.device
        Of the generator.

    Attributes
    ----------
    n_proposed, n_accepted : int
        As openmmtools' moves count; both are ``statistics``.

    Raises
    ------
    ConfGFError
        If the generator has no density.
    """

    def __init__(
        self,
        generator: Generator,
        molecule: MoleculeLike,
        *,
        pool: int = 1000,
        seed: int | np.random.SeedSequence = 0,
        device: Device = "auto",
    ) -> None:
        self.generator, self.graph, self.device = check_density(generator), as_graph(molecule), device
        self.n_proposed = self.n_accepted = 0
        self._size, self._seeds = pool, seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
        self._rng = np.random.default_rng(self._seeds)
        self._pool: list[tuple[NDArray[np.float64], float]] = []
        self._current: tuple[NDArray[np.float64], float] | None = None

    @property
    def statistics(self) -> dict[str, int]:
        """What was counted, as openmmtools keeps it."""
        return {"n_accepted": self.n_accepted, "n_proposed": self.n_proposed}

    @statistics.setter
    def statistics(self, value: dict[str, int]) -> None:
        self.n_accepted, self.n_proposed = value["n_accepted"], value["n_proposed"]

    def apply(self, thermodynamic_state: Any, sampler_state: Any, context_cache: Any = None) -> None:
        """Attempt one move; positions and velocities of an accepted one are new.

        Parameters
        ----------
        thermodynamic_state : openmmtools.states.ThermodynamicState
        sampler_state : openmmtools.states.SamplerState
            Is changed.
        context_cache : openmmtools.cache.ContextCache, optional
            Default: openmmtools' global one.

        Raises
        ------
        UnsupportedForceError
            If the System is periodic, or has constraints.
        ForceFieldError
            If its particles are not the molecule's atoms, in its order.
        """
        contexts = context_cache
        if contexts is None:
            from openmmtools.cache import global_context_cache

            contexts = global_context_cache
        context, _ = contexts.get_context(thermodynamic_state)
        check_moved_system(context.getSystem(), self.graph)
        positions = sampler_state.positions.value_in_unit(unit.nanometer)
        frame, log_q = self._proposal()
        proposed = frame - frame.mean(axis=0) + positions.mean(axis=0)
        before = -_reduced(context, thermodynamic_state, positions) - self._log_density(positions)
        # the last that the Context is set to, which the sampler state takes over
        after = -_reduced(context, thermodynamic_state, proposed) - log_q if math.isfinite(log_q) else -math.inf
        self.n_proposed += 1
        if not math.log(self._rng.random()) < after - before:
            return
        context.setVelocitiesToTemperature(thermodynamic_state.temperature, int(self._rng.integers(1, 2**31 - 1)))
        sampler_state.update_from_context(context)
        self._current = sampler_state.positions.value_in_unit(unit.nanometer).copy(), log_q
        self.n_accepted += 1

    def _log_density(self, positions: NDArray[np.float64]) -> float:
        if self._current is None or not np.array_equal(self._current[0], positions):
            self._current = positions.copy(), float(self.generator.log_prob(self.graph, positions, device=self.device)[0])
        return self._current[1]

    def _proposal(self) -> tuple[NDArray[np.float64], float]:
        """A sample that was not proposed yet, and its log q."""
        if not self._pool:
            drawn = self.generator.sample(self.graph, self._size, seed=int(self._rng.integers(2**31 - 1)), device=self.device)
            assert drawn.log_q is not None
            # another stereoisomer is never moved to
            log_q = np.where(drawn.status == Status.WRONG_STEREO, -np.inf, drawn.log_q)
            self._pool = list(zip(drawn.positions, log_q.tolist(), strict=True))
        return self._pool.pop()

    def __deepcopy__(self, memo: dict[int, Any]) -> GeneratorMCMCMove:
        """With other random numbers: proposals that replicas share would make them depend on each other."""
        (seed,) = self._seeds.spawn(1)
        copied = GeneratorMCMCMove(self.generator, self.graph, pool=self._size, seed=seed, device=self.device)
        copied.statistics = self.statistics
        return copied

    def __getstate__(self) -> dict[str, int]:
        """What a multistate sampler stores of its moves; a generator is not stored."""
        return self.statistics

    def __setstate__(self, state: dict[str, int]) -> None:
        raise ConfGFError(
            "A move to samples of a generator cannot be taken up from storage, which has no generator; make the sampler anew, with "
            "sampler_states from the last iteration."
        )


def _reduced(context: openmm.Context, thermodynamic_state: Any, positions: NDArray[np.float64]) -> float:
    """The reduced potential of the state; +inf where it is not finite."""
    context.setPositions(positions * unit.nanometer)
    try:
        value = float(thermodynamic_state.reduced_potential(context))
    except openmm.OpenMMException:  # what some forces say of atoms on top of each other
        return math.inf
    return value if math.isfinite(value) else math.inf

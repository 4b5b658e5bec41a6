"""The alignment of a model in rounds: pools of conformations, their energies as feedback, a look at molecules that are held out."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..thermodynamics.normalised import normalised_weights
from ..thermodynamics.truncation import truncated
from ..training.averaging import copied_to_cpu
from ..training.module import warm_hold_decay
from ..training.objectives.energies import TEMPERED, TRUNCATED, log_variance, tempered_weights, weighted_likelihood
from ..training.step_rounds import Row, StepRounds
from ..units import kT
from .density import DensityModel
from .losses import boltzmann_target, dpo_loss, eba_loss, effective_winners
from .model import AlignableModel
from .pool import Pool
from .settings import AlignmentRun

_LOOKS = 4
"""Comparisons of each molecule that is held out, always the same ones."""


class _Compared(NamedTuple):
    """Of some conformations of a molecule: the loss and the anchor, and how many of them share the target."""

    loss: Tensor
    anchor: Tensor
    winners: float


class AlignmentTraining(StepRounds):
    """A run in a folder. It ends with the averaged weights of the round that did best on the molecules that are held out, extrapolated.

    Parameters
    ----------
    model : AlignableModel
        Its network is trained in place.
    pools, held_out : sequence of Pool
        Of molecules that are learnt from, and of others.
    run : AlignmentRun
    directory : Path
        Gets ``last.pt`` and ``log.jsonl``.
    draw_pool : callable
        Gives a molecule's pool anew, from a seed and the network as it is; None where that fails.
    """

    def __init__(
        self,
        model: AlignableModel,
        pools: Sequence[Pool],
        held_out: Sequence[Pool],
        run: AlignmentRun,
        directory: Path,
        draw_pool: Callable[[Pool, int], Pool | None],
    ) -> None:
        model.network.requires_grad_(True)
        # log q is then rounded by 0.03 nats, in the steps alone; denoising errors do not bear it
        super().__init__(model.network, directory, 0.0, run.steps // run.round_steps, rounded=isinstance(model, DensityModel))
        self.model, self.pools, self.held_out, self.run, self.draw_pool = model, list(pools), list(held_out), run, draw_pool
        # a second pass of a frozen network is made only where it is used
        self._reference = copy.deepcopy(model) if run.loss == "dpo" else None
        self._seen: list[float] = []
        self._first = copied_to_cpu(self.network.state_dict())
        self.best = self._first
        self.start_loss, self.best_loss, self.best_round = float("inf"), float("inf"), 0

    def fit(self, after_round: Callable[[Row, int], None] = lambda row, rounds: None) -> list[Row]:
        """As `StepRounds.fit`, and then the best weights, extrapolated.

        Parameters
        ----------
        after_round : callable
            Called with the row of each round and the number of rounds.

        Returns
        -------
        list of dict
            The log.

        Raises
        ------
        LossExplodedError
            If the loss is not finite any more; the network has the best weights, extrapolated.
        """
        try:
            return super().fit(after_round)
        finally:
            self.network.load_state_dict(
                {name: torch.lerp(first, self.best[name], self.run.extrapolation) for name, first in self._first.items()}
            )
            self.network.requires_grad_(False)

    def _begin(self) -> None:
        start = self._look()
        self.start_loss, self.best_loss = start["val_loss"] or 0.0, self._total(start)

    def _round(self) -> Row:
        number, run = self.done, self.run
        if run.refresh and number:
            for which in range(number % run.refresh, len(self.pools), run.refresh):
                self.pools[which] = self.draw_pool(self.pools[which], number) or self.pools[which]
        total = self.rounds * run.round_steps
        self._seen = []
        for _ in range(run.round_steps):
            self._step(self._loss, run.seed, run.learning_rate * warm_hold_decay(self.step, total, warm=100))
        row: Row = {"round": number + 1, "step": self.step, "loss": float(np.mean(self._seen)), "start_loss": self.start_loss}
        with self._averaged_weights():
            row |= self._look()
        if self._total(row) < self.best_loss:
            self.best_loss, self.best_round = self._total(row), number + 1
            self.best = copied_to_cpu(self.averaged.module.state_dict())
        self.ended = self._without_gain(number + 1)
        return row

    def _total(self, row: Row) -> float:
        """What the best round has least of."""
        return (row["val_loss"] or 0.0) + self.run.anchor * (row["val_anchor"] or 0.0)

    def _loss(self, rng: np.random.Generator) -> Tensor:
        chosen = rng.choice(len(self.pools), min(self.run.molecules, len(self.pools)), replace=False)
        found = [self._compared(self.pools[which], rng) for which in chosen]
        self._seen += [float(one.loss.detach()) for one in found]
        return torch.stack([one.loss + self.run.anchor * one.anchor for one in found]).mean()

    @torch.no_grad()
    def _look(self) -> Row:
        """At the molecules that are held out, or, where there are none, at those that are learnt from."""
        rng = np.random.default_rng([self.run.seed, 1])
        found = [self._compared(pool, rng) for pool in self.held_out or self.pools for _ in range(_LOOKS)]
        loss, anchor = (float(torch.stack(values).mean()) for values in zip(*((one.loss, one.anchor) for one in found), strict=True))
        winners = np.array([one.winners for one in found])
        return {
            "val_loss": loss,
            "val_anchor": anchor,
            "effective_winners": float(winners.mean()),
            "target_entropy": float(np.log(winners).mean()),
        }

    def _compared(self, pool: Pool, rng: np.random.Generator) -> _Compared:
        """The loss of some conformations of a molecule."""
        run, seed = self.run, int(rng.integers(2**31))
        rows = self._rows(pool, rng)
        energies, positions = torch.from_numpy(pool.energies[rows])[None], pool.positions[rows]
        lengths = torch.tensor([float(pool.graph.mol.GetNumHeavyAtoms())]) if run.length_normalised else None
        temperature = run.temperature * (run.softness if run.loss == "eba" else 1)
        target = boltzmann_target(energies, temperature=temperature, lengths=lengths)
        model = self.model.model_energies(pool.graph, positions, seed=seed).double().cpu()[None]
        if run.loss == "eba":
            loss = eba_loss(model, energies, temperature=temperature, alpha=run.alpha / run.softness, lengths=lengths)
        elif run.loss == "log-variance":
            reduced = energies[0] / kT(run.temperature)
            # of samples as they are drawn: see `_rows`
            away = (model[0] - reduced).detach()[: run.k - run.k // 2]
            drawn = -torch.from_numpy(pool.model_energies[rows]) if run.refresh and pool.model_energies is not None else None
            loss = log_variance(-model[0], -reduced, away[away.isfinite()].median(), drawn)
        elif run.loss == "distillation":
            loss = weighted_likelihood(-model[0], torch.ones_like(model[0]))
        else:
            assert self._reference is not None
            with torch.no_grad():
                reference = self._reference.model_energies(pool.graph, positions, seed=seed).double().cpu()
            pairs = (model.view(-1, 2), energies.view(-1, 2))
            loss = dpo_loss(*pairs, alpha=run.alpha, reference_energies=reference.view(-1, 2))
        anchor = torch.zeros_like(loss)
        if run.anchor:
            anchor = self.model.anchor(pool.graph, positions, target[0].double().numpy(), seed=seed + 1).double().cpu()
        return _Compared(loss, anchor, float(effective_winners(target)))

    def _rows(self, pool: Pool, rng: np.random.Generator) -> NDArray[np.int64]:
        """Which conformations are compared. Of log-variance, the second half is chosen by weight: what is drawn too seldom is among it."""
        loss, k = self.run.loss, self.run.k
        if loss not in ("distillation", "log-variance") or pool.model_energies is None:
            return rng.choice(len(pool), k, len(pool) < k)
        logs = pool.model_energies - pool.energies / kT(self.run.temperature)
        if loss == "distillation":
            return rng.choice(len(pool), k, p=tempered_weights(torch.from_numpy(logs), TEMPERED).numpy())
        drawn = rng.choice(len(pool), k - k // 2, len(pool) < k)
        weighed = rng.choice(len(pool), k // 2, p=normalised_weights(truncated(logs, TRUNCATED)[0]))
        return np.concatenate([drawn, weighed])

    @contextlib.contextmanager
    def _averaged_weights(self) -> Iterator[None]:
        """The model with the averaged weights."""
        now = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(self.averaged.module.state_dict())
        try:
            yield
        finally:
            self.network.load_state_dict(now)

    def _resume(self) -> None:
        super()._resume()
        self.ended |= self._without_gain(self.done)

    def _without_gain(self, rounds: int) -> bool:
        """Whether so many rounds, once made, are too many after the best one."""
        return rounds - self.best_round >= self.run.patience

    def _kept(self) -> Any:
        pools = [{name: torch.from_numpy(values) for name, values in pool.arrays().items()} for pool in self.pools if self.run.refresh]
        losses = {"start_loss": self.start_loss, "best_loss": self.best_loss}
        return {"best": self.best, "best_round": self.best_round, "pools": pools} | losses

    def _restore(self, kept: Any) -> None:
        self.best, self.best_round = kept["best"], kept["best_round"]
        self.start_loss, self.best_loss = kept["start_loss"], kept["best_loss"]
        if kept["pools"]:
            self.pools = [
                Pool(old.graph, **{name: values.numpy() for name, values in new.items()})
                for old, new in zip(self.pools, kept["pools"], strict=True)
            ]

"""The training of an AutoregressiveDensity in rounds: on frames, then on energies of its own samples."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...generators.boltzmann.prepared import PreparedMolecule
from ...models.autoregressive import AutoregressiveDensity
from ...models.density_pieces import log_prob_in_pieces
from ...thermodynamics.diagnostics import diagnose
from ..averaging import copied_to_cpu
from ..module import warm_hold_decay
from ..objectives.energies import TEMPERED, log_variance, tempered_weights, weighted_likelihood
from ..step_rounds import Row, StepRounds
from .frames import Frames
from .monitor import Samples, divergence, draw_samples, mean_log_q, torus_distance
from .moved import moved_frames
from .settings import BoltzmannRun

LOOK_EVERY = 5
"""Rounds between two looks at fresh samples of the averaged weights."""

_SHARE_OF_FRAMES = 0.25
"""In a step on energies: frames of the simulation, by the number of the network's own samples."""

_MOVED = 0.25
"""`moved_frames` by the number of a round's samples. They are half of the own samples of a step, where there are some."""

_OF_FRAMES, _LIKELIHOOD = 0.5, 0.1
"""Factors of their log-variance, and of their likelihood."""

_WORSE = 0.5
"""nats of the divergence above the best round's, from which that is taken up again."""

_UNTRUSTED = 0.5
"""nats that a round whose samples k-hat distrusts must be better than one whose samples it trusts."""


@dataclasses.dataclass(frozen=True)
class Lesson:
    """One molecule to learn.

    Attributes
    ----------
    prepared : PreparedMolecule
    frames, held_out : Frames
        Of its simulation: to learn from, and to look at.
    """

    prepared: PreparedMolecule
    frames: Frames
    held_out: Frames


class BoltzmannTraining(StepRounds):
    """A run in a folder.

    Of one molecule, the averaged weights of the look with the least Jeffreys divergence are what it ends with; half a nat counts for k-hat,
    since tails can grow heavy while the divergence falls. Where that becomes larger by half a nat, training goes on from there, half as
    fast, for energies of a poor proposal teach little, and samples of a worse one less.

    Parameters
    ----------
    network : AutoregressiveDensity
        Trained in place; it ends with averaged weights.
    lessons : sequence of Lesson
        Of one molecule, or of many.
    run : BoltzmannRun
    directory : Path
        Gets ``last.pt`` and ``log.jsonl``.
    """

    network: AutoregressiveDensity

    def __init__(self, network: AutoregressiveDensity, lessons: Sequence[Lesson], run: BoltzmannRun, directory: Path) -> None:
        # log q is then rounded by 0.03 nats, in the steps alone
        super().__init__(network, directory, run.minutes, run.rounds, rounded=True)
        self.lessons, self.run = lessons, run
        self._samples: collections.deque[tuple[int, Samples, Frames]] = collections.deque(maxlen=run.kept)
        self.best_divergence, self._best_is_trusted, self._pace = math.inf, False, 1.0

    def _begin(self) -> None:
        if self.run.frames_share == 0 and len(self.lessons) == 1:
            # what is known already is not to become worse
            self._keep_the_best(self._look(0))

    @property
    def _rounds_of_frames(self) -> int:
        if self.run.tuning == "none":
            return self.rounds
        return max(self.run.frames_share > 0, round(self.run.frames_share * self.rounds))

    def _round(self) -> Row:
        number = self.done
        tuning = number >= self._rounds_of_frames and (bool(self.rounds) or self.run.frames_share == 0)
        if tuning:
            which = number % len(self.lessons)
            seed, weighed = _seed(self.run.seed, 1, number), self.run.tuning == "distillation"
            prepared = self.lessons[which].prepared
            samples = draw_samples(prepared, self.network, self.run.samples, seed, broad=weighed)
            moved = (
                samples.frames[torch.arange(0)]
                if weighed
                else moved_frames(prepared, samples, math.ceil(_MOVED * self.run.samples), _seed(self.run.seed, 3, number))
            )
            self._samples.append((which, samples, moved))
        loss_of = self._loss_of_energies if tuning else self._loss_of_frames
        losses = [self._step(loss_of, self.run.seed, self._learning_rate(tuning)) for _ in range(self.run.round_steps)]
        loss: float | None = float(np.mean(losses))
        if self.best and not np.isfinite(losses).all():
            loss = None
            self._go_back()
        row: Row = {"round": number + 1, "step": self.step, "loss": loss, "energies": float(tuning)}
        if (number + 1) % LOOK_EVERY == 0 or self.is_last:
            row |= self._look(number)
            if len(self.lessons) == 1:
                self._keep_the_best(row)
        return row

    def _keep_the_best(self, look: Row) -> None:
        """Keep the averaged weights if they are the best so far, and go back to the best if they are much worse."""
        divergence, trusted = look["divergence"], look["ess"] is not None
        if divergence is not None and divergence - _UNTRUSTED * trusted <= self.best_divergence - _UNTRUSTED * self._best_is_trusted:
            self.best = copied_to_cpu(self.averaged.module.state_dict())
            self.best_divergence, self._best_is_trusted = divergence, trusted
        elif self.best and (divergence is None or divergence > self.best_divergence + _WORSE):
            self._go_back()

    def _go_back(self) -> None:
        """Go on from the best weights, at half the rate."""
        for network in (self.network, self.averaged.module):
            network.load_state_dict(self.best)
        self.optimizer.state.clear()
        self._samples.clear()
        self._pace *= 0.5

    def _look(self, number: int) -> Row:
        """At fresh samples of the averaged weights, of one molecule."""
        lesson, network = self.lessons[number // LOOK_EVERY % len(self.lessons)], self.averaged.module
        assert isinstance(network, AutoregressiveDensity)
        samples = draw_samples(lesson.prepared, network, self.run.samples, _seed(self.run.seed, 2, number))
        found = diagnose(samples.log_weights.numpy())
        if self.run.until_ess is not None and found.ess_fraction is not None and len(self.lessons) == 1:
            self.ended = found.ess_fraction >= self.run.until_ess
        of_frames = mean_log_q(lesson.prepared, network, lesson.held_out)
        return {
            "ess": found.ess_fraction,
            "k_hat": found.k_hat,
            "mean_log_q": of_frames,
            "divergence": divergence(samples.log_weights, of_frames),
            "torus_distance": torus_distance(lesson.prepared, samples, lesson.held_out),
        }

    def _learning_rate(self, tuning: bool) -> float:
        first = self._rounds_of_frames * self.run.round_steps
        last = self.rounds * self.run.round_steps
        rate, step, steps = (
            (self.run.tuning_rate, self.step - first, last - first) if tuning else (self.run.learning_rate, self.step, first)
        )
        # the first rounds do not know yet how many there will be
        return self._pace * rate * warm_hold_decay(step, steps if self.rounds else 10**6, warm=100)

    def _loss_of_frames(self, rng: np.random.Generator) -> Tensor:
        count = min(self.run.molecules, len(self.lessons))
        parts = []
        for which in rng.choice(len(self.lessons), count, replace=False):
            lesson = self.lessons[which]
            seen = lesson.frames[_rows(rng, len(lesson.frames), self.run.batch_size // count)].to(lesson.prepared.device)
            log_q = log_prob_in_pieces(self.network, lesson.prepared.batch, seen.coordinates, seen.placed)
            parts.append(weighted_likelihood(log_q, torch.ones_like(log_q)))
        return torch.stack(parts).mean()

    def _loss_of_energies(self, rng: np.random.Generator) -> Tensor:
        which, samples, moved = self._samples[int(rng.integers(len(self._samples)))]
        lesson, count = self.lessons[which], self.run.batch_size
        if self.run.tuning == "distillation":
            weights = tempered_weights(samples.log_weights, TEMPERED).numpy()
            chosen = torch.from_numpy(rng.choice(len(weights), count, p=weights / weights.sum()))
        else:
            chosen = _rows(rng, len(samples.log_weights), count - count // 2 if len(moved) else count)
        moved = moved[_rows(rng, len(moved), count - len(chosen))]
        seen = lesson.frames[_rows(rng, len(lesson.frames), int(_SHARE_OF_FRAMES * count))]
        every = Frames.together([samples.frames[chosen], moved, seen]).to(lesson.prepared.device)
        log_q = log_prob_in_pieces(self.network, lesson.prepared.batch, every.coordinates, every.placed)
        of_own, of_seen = log_q.split([count, len(seen)])
        likelihood = weighted_likelihood(of_seen, torch.ones_like(of_seen))
        if self.run.tuning == "distillation":
            return weighted_likelihood(of_own, torch.ones_like(of_own)) + _SHARE_OF_FRAMES * likelihood
        targets = every.log_target.split([count, len(seen)])
        # of today's network: samples are kept while the mean of their log-weights rises
        now = (targets[0] - of_own.detach()).double()[: len(chosen)]
        centre = now[now.isfinite()].median()
        # nobody drew what was moved
        drawn = torch.cat([samples.log_q[chosen], samples.log_q.new_full((len(moved),), torch.nan)])
        own_part = log_variance(of_own.double(), targets[0], centre, drawn.to(of_own.device))
        return own_part + _OF_FRAMES * log_variance(of_seen.double(), targets[1], centre) + _LIKELIHOOD * likelihood

    def _kept(self) -> Any:
        samples = [
            (which, *dataclasses.astuple(samples.frames), samples.log_weights, samples.log_q, *dataclasses.astuple(moved))
            for which, samples, moved in self._samples
        ]
        best = {"best": self.best, "best_divergence": self.best_divergence, "best_is_trusted": self._best_is_trusted}
        return {"samples": samples, "pace": self._pace} | best

    def _restore(self, kept: Any) -> None:
        samples = [(which, Samples(Frames(*each[:3]), each[3], each[4]), Frames(*each[5:])) for which, *each in kept["samples"]]
        self._samples = collections.deque(samples, self.run.kept)
        self.best, self.best_divergence = kept["best"], kept["best_divergence"]
        self._best_is_trusted, self._pace = kept["best_is_trusted"], kept["pace"]


def _rows(rng: np.random.Generator, total: int, count: int) -> Tensor:
    return torch.from_numpy(rng.integers(max(total, 1), size=count))


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])

"""The training of an AutoregressiveDensity in rounds: on frames, then on energies. A stopped run goes on bit for bit."""

from __future__ import annotations

import collections
import dataclasses
import io
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from ...devices import multiplies_bfloat16
from ...errors import ConfGFError
from ...generators.boltzmann.prepared import PreparedMolecule
from ...models.autoregressive import AutoregressiveDensity
from ...thermodynamics.diagnostics import diagnose
from ...writing import write_whole
from ..averaging import average_weights
from ..module import warm_hold_decay
from ..objectives.energies import log_variance, tempered_weights, weighted_likelihood
from .frames import Frames
from .monitor import Samples, draw_samples, mean_log_q, torus_distance
from .settings import BoltzmannRun

Row = dict[str, float | None]
"""Of a round: round, step, seconds, loss; and where it was looked at: ess, k_hat, mean_log_q, torus_distance."""

LOOK_EVERY = 5
"""Rounds between two looks at fresh samples of the averaged weights."""

_SHARE_OF_FRAMES = 0.25
"""In a step on energies: frames of the simulation, by the number of the network's own samples."""

_OF_FRAMES, _LIKELIHOOD = 0.5, 0.1
"""Factors of their log-variance, and of their likelihood."""

TEMPERED = 0.6
"""Share of the samples that must be effective after tempering."""

_CLIP = 5.0
"""Largest norm of a gradient."""


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


@dataclasses.dataclass
class _State:
    """What a checkpoint holds, besides the log."""

    rounds: int
    done: int = 0
    step: int = 0
    ended: bool = False
    kept: collections.deque[tuple[int, Samples]] = dataclasses.field(default_factory=collections.deque)


class BoltzmannTraining:
    """A run in a folder.

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

    def __init__(self, network: AutoregressiveDensity, lessons: Sequence[Lesson], run: BoltzmannRun, directory: Path) -> None:
        self.network, self.lessons, self.run, self.directory = network, lessons, run, directory
        self.averaged = AveragedModel(network, multi_avg_fn=average_weights)
        self.optimizer = torch.optim.AdamW(network.parameters(), run.learning_rate, betas=(0.9, 0.98), weight_decay=1e-2)
        self._device = next(network.parameters()).device
        # log q is then rounded by 0.03 nats, in the steps alone
        self._rounded = multiplies_bfloat16(self._device)
        self.state = _State(run.rounds or 0, kept=collections.deque(maxlen=run.kept))
        self.rows: list[Row] = []

    def fit(self, after_round: Callable[[Row, int], None] = lambda row, rounds: None) -> list[Row]:
        """All rounds that are left.

        Parameters
        ----------
        after_round : callable
            Called with the row of each round and the number of rounds.

        Returns
        -------
        list of dict
            The log, earlier sessions included.

        Raises
        ------
        ConfGFError
            If the loss is not finite, or ``last.pt`` is damaged.
        KeyboardInterrupt
            After Ctrl-C; the rounds that are finished are kept.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self._resume()
        while not self.state.ended:
            start = time.perf_counter()
            row = self._round()
            seconds = time.perf_counter() - start
            row["seconds"] = round(seconds, 2)
            if not self.state.rounds:
                self.state.rounds = max(2, int(60 * self.run.minutes / seconds))
            self.state.ended |= self.state.done >= self.state.rounds
            self.rows.append(row)
            self._save()
            after_round(row, self.state.rounds)
        self.network.load_state_dict(self.averaged.module.state_dict())
        return self.rows

    @property
    def _rounds_of_frames(self) -> int:
        if self.run.tuning == "none":
            return self.state.rounds
        return max(self.run.frames_share > 0, round(self.run.frames_share * self.state.rounds))

    def _round(self) -> Row:
        number, losses = self.state.done, []
        tuning = number >= self._rounds_of_frames and (bool(self.state.rounds) or self.run.frames_share == 0)
        if tuning:
            which = number % len(self.lessons)
            samples = draw_samples(self.lessons[which].prepared, self.network, self.run.samples, _seed(self.run.seed, 1, number))
            self.state.kept.append((which, samples))
        for _ in range(self.run.round_steps):
            rng = np.random.default_rng([self.run.seed, self.state.step])
            for group in self.optimizer.param_groups:
                group["lr"] = self._learning_rate(tuning)
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._rounded):
                loss = self._loss_of_energies(rng) if tuning else self._loss_of_frames(rng)
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), _CLIP)
            self.optimizer.step()
            self.averaged.update_parameters(self.network)
            self.state.step += 1
            losses.append(float(loss.detach()))
        if not math.isfinite(sum(losses)):
            raise ConfGFError("The loss is not finite any more; train with a lower learning rate.")
        self.state.done += 1
        row: Row = {"round": number + 1, "step": self.state.step, "loss": float(np.mean(losses)), "energies": float(tuning)}
        if self.state.done % LOOK_EVERY == 0 or self.state.done == self.state.rounds:
            row |= self._look(number)
        return row

    def _look(self, number: int) -> Row:
        """At fresh samples of the averaged weights, of one molecule."""
        lesson, network = self.lessons[number // LOOK_EVERY % len(self.lessons)], self.averaged.module
        assert isinstance(network, AutoregressiveDensity)
        samples = draw_samples(lesson.prepared, network, self.run.samples, _seed(self.run.seed, 2, number))
        found = diagnose(samples.log_weights.numpy())
        if self.run.until_ess is not None and found.ess_fraction is not None and len(self.lessons) == 1:
            self.state.ended = found.ess_fraction >= self.run.until_ess
        return {
            "ess": found.ess_fraction,
            "k_hat": found.k_hat,
            "mean_log_q": mean_log_q(lesson.prepared, network, lesson.held_out),
            "torus_distance": torus_distance(lesson.prepared, samples, lesson.held_out),
        }

    def _learning_rate(self, tuning: bool) -> float:
        first = self._rounds_of_frames * self.run.round_steps
        last = self.state.rounds * self.run.round_steps
        rate, step, steps = (
            (self.run.tuning_rate, self.state.step - first, last - first) if tuning else (self.run.learning_rate, self.state.step, first)
        )
        # the first round does not know yet how many there will be
        return rate * warm_hold_decay(step, steps if self.state.rounds else 10**6, warm=100)

    def _loss_of_frames(self, rng: np.random.Generator) -> Tensor:
        lesson = self.lessons[int(rng.integers(len(self.lessons)))]
        seen = lesson.frames[_rows(rng, len(lesson.frames), self.run.batch_size)].to(lesson.prepared.device)
        log_q = self.network.log_prob(lesson.prepared.batch, seen.coordinates, seen.placed)
        return weighted_likelihood(log_q, torch.ones_like(log_q))

    def _loss_of_energies(self, rng: np.random.Generator) -> Tensor:
        which, samples = self.state.kept[int(rng.integers(len(self.state.kept)))]
        lesson, count = self.lessons[which], self.run.batch_size
        if self.run.tuning == "distillation":
            weights = tempered_weights(samples.log_weights, TEMPERED).numpy()
            chosen = torch.from_numpy(rng.choice(len(weights), count, p=weights / weights.sum()))
        else:
            chosen = _rows(rng, len(samples.log_weights), count)
        own, seen = samples.frames[chosen], lesson.frames[_rows(rng, len(lesson.frames), int(_SHARE_OF_FRAMES * count))]
        both = Frames.together([own, seen]).to(lesson.prepared.device)
        log_q = self.network.log_prob(lesson.prepared.batch, both.coordinates, both.placed)
        of_own, of_seen = log_q.split([len(own), len(seen)])
        likelihood = weighted_likelihood(of_seen, torch.ones_like(of_seen))
        if self.run.tuning == "distillation":
            return weighted_likelihood(of_own, torch.ones_like(of_own)) + _SHARE_OF_FRAMES * likelihood
        targets = both.log_target.split([len(own), len(seen)])
        # of today's network: samples are kept while the mean of their log-weights rises
        now = (targets[0] - of_own.detach()).double()
        centre = now[now.isfinite()].median()
        parts = [log_variance(q.double(), target, centre) for q, target in zip((of_own, of_seen), targets, strict=True)]
        return parts[0] + _OF_FRAMES * parts[1] + _LIKELIHOOD * likelihood

    def _save(self) -> None:
        content = io.BytesIO()
        kept = [(which, *dataclasses.astuple(samples.frames), samples.log_weights) for which, samples in self.state.kept]
        state: dict[str, Any] = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "state": [self.state.rounds, self.state.done, self.state.step, self.state.ended],
            "kept": kept,
            "rows": self.rows,
        }
        torch.save(state, content)
        write_whole(self.directory / "last.pt", content.getvalue())
        write_whole(self.directory / "log.jsonl", "".join(json.dumps(row) + "\n" for row in self.rows))

    def _resume(self) -> None:
        path = self.directory / "last.pt"
        if not path.exists():
            return
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
            self.network.load_state_dict(saved["network"])
            self.averaged.load_state_dict(saved["averaged"])
            self.optimizer.load_state_dict(saved["optimizer"])
            rounds, done, step, ended = saved["state"]
            kept = [(which, Samples(Frames(*tensors), weights)) for which, *tensors, weights in saved["kept"]]
        except Exception as error:  # whatever torch raises of a damaged file
            raise ConfGFError(f"{path} is damaged, or of another run ({str(error).splitlines()[0]}); delete it to begin anew.") from error
        asked = self.run.rounds or rounds
        self.state = _State(asked, done, step, ended and done >= asked, collections.deque(kept, self.run.kept))
        self.rows = saved["rows"]


def _rows(rng: np.random.Generator, total: int, count: int) -> Tensor:
    return torch.from_numpy(rng.integers(total, size=count))


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])

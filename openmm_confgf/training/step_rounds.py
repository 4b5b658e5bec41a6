"""Rounds of steps that make their own batches: averaged weights, a log, minutes that become rounds. A stopped run goes on bit for bit."""

from __future__ import annotations

import abc
import io
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ..devices import multiplies_bfloat16
from ..errors import ConfGFError, LossExplodedError
from ..writing import write_whole
from .averaging import average_weights

Row = dict[str, float | None]
"""Of a round: round, step, seconds, loss, and what else was looked at."""

_TIMED = 2
"""Rounds after which their number is known."""

_CLIP = 5.0
"""Largest norm of a gradient."""


class StepRounds(abc.ABC):
    """A run in a folder. Subclasses say what a round is: `_round`, which makes its steps by `_step`.

    It ends with the weights that a subclass keeps in `best`, or else with the averaged ones.

    Parameters
    ----------
    network : torch.nn.Module
        Trained in place.
    directory : Path
        Gets ``last.pt`` and ``log.jsonl``.
    minutes : float
        What the rounds may take. The first two rounds are timed, and decide how many there will be; that number is kept when a run is
        resumed. The first one alone would be too long: what is compiled and allocated once is in it.
    rounds : int or None
        How many, whatever they take.
    rounded : bool
        Whether products may be in bfloat16 where the processor is fast at them.
    """

    def __init__(self, network: nn.Module, directory: Path, minutes: float, rounds: int | None, rounded: bool) -> None:
        self.network, self.directory, self.minutes = network, directory, minutes
        self.averaged = AveragedModel(network, multi_avg_fn=average_weights)
        self.optimizer = torch.optim.AdamW(network.parameters(), 1e-3, betas=(0.9, 0.98), weight_decay=1e-2)
        self.device = next(network.parameters()).device
        self._rounded = rounded and multiplies_bfloat16(self.device)
        self.asked, self.rounds, self.done, self.step, self.ended = rounds, rounds or 0, 0, 0, False
        self.rows: list[Row] = []
        self.best: dict[str, Tensor] = {}

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
        LossExplodedError
            If the loss is not finite; ``last.pt`` holds the rounds before.
        ConfGFError
            If ``last.pt`` is damaged.
        KeyboardInterrupt
            After Ctrl-C; the rounds that are finished are kept.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self._resume()
        if not self.done:
            self._begin()
        while not self.ended:
            start = time.perf_counter()
            row = self._round()
            seconds = time.perf_counter() - start
            if not math.isfinite(row["loss"] or 0.0):
                raise LossExplodedError("The loss is not finite any more; train with a lower learning rate.")
            self.done += 1
            row["seconds"] = round(seconds, 2)
            self.rows.append(row)
            if self.asked is None and self.done <= _TIMED:
                left = 60 * self.minutes - sum(earlier["seconds"] or 0.0 for earlier in self.rows)
                self.rounds = max(self.done + int(left / seconds), _TIMED + 1)
            self.ended |= self.done >= self.rounds
            self._save()
            after_round(row, self.rounds)
        self.network.load_state_dict(self.best or self.averaged.module.state_dict())
        return self.rows

    @property
    def is_last(self) -> bool:
        """Whether the round that is under way is the last one."""
        return self.done + 1 == self.rounds

    @abc.abstractmethod
    def _round(self) -> Row:
        """Make the steps of a round, and say how it went: at least its mean ``loss``."""

    def _begin(self) -> None:  # noqa: B027  # most have nothing to do
        """What is done once, before the first round."""

    def _kept(self) -> Any:
        """What a checkpoint holds besides: tensors, numbers, lists and dicts of them."""
        return None

    def _restore(self, kept: Any) -> None:
        """Take up what `_kept` gave."""
        assert kept is None

    def _step(self, loss_of: Callable[[np.random.Generator], Tensor], seed: int, learning_rate: float) -> float:
        """One step of the optimizer; the loss is given a random stream of this step."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._rounded):
            loss = loss_of(np.random.default_rng([seed, self.step]))
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), _CLIP)
        self.optimizer.step()
        self.averaged.update_parameters(self.network)
        self.step += 1
        return float(loss.detach())

    def _save(self) -> None:
        content = io.BytesIO()
        state: dict[str, Any] = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "state": [self.rounds, self.done, self.step, self.ended],
            "kept": self._kept(),
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
            rounds, self.done, self.step, ended = saved["state"]
            self._restore(saved["kept"])
        except Exception as error:  # whatever torch raises of a damaged file
            raise ConfGFError(f"{path} is damaged, or of another run ({str(error).splitlines()[0]}); delete it to begin anew.") from error
        self.rounds = self.asked or rounds
        self.ended = ended and self.done >= self.rounds
        self.rows = saved["rows"]

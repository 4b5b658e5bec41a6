"""As peptides.py, with samples drawn while it learns, and for a GPU: what came of it is in README.md.

Usage: python devtools/training/alignment/peptides_gpu.py FOLDER OUTPUT [--from boltzmann] [--minutes 60] [--workers 12 --device cuda]

Workers draw one peptide after the other, with the weights as they are, and
compute energies, each on a core; one process learns from what they send, on a GPU where there is one. Run again, it goes on from the last
look, with samples drawn anew.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import math
import multiprocessing
import queue
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

sys.path.insert(0, str(Path(__file__).parents[1] / "boltzmann"))
sys.path.insert(0, str(Path(__file__).parent))
from dipeptides import FORCE_FIELD, TEMPERATURE, TEST, card_of
from peptides import VALIDATION, chosen_names

from openmm_confgf.devices import multiplies_bfloat16
from openmm_confgf.errors import ConfGFError
from openmm_confgf.generators.boltzmann import BoltzmannGenerator
from openmm_confgf.generators.boltzmann.prepared import PreparedMolecule
from openmm_confgf.models.autoregressive import AutoregressiveDensity
from openmm_confgf.models.placement_batch import PlacementBatch
from openmm_confgf.models.weights import save_weights
from openmm_confgf.molecules.peptides import peptide
from openmm_confgf.training.averaging import average_weights, copied_to_cpu
from openmm_confgf.training.boltzmann.frames import Frames
from openmm_confgf.training.boltzmann.monitor import draw_samples
from openmm_confgf.training.objectives.energies import FARTHEST, effective_share, log_variance
from openmm_confgf.writing import write_whole

KEPT = 0.25
"""Share of a peptide's samples, those of largest weight, that stays when others are drawn: what is seldom drawn is not forgotten."""

PIECE = 4096
"""Conformations that are weighed at once."""


def tensors_of(frames: Frames) -> tuple[Tensor, Tensor, Tensor]:
    return frames.coordinates, frames.placed, frames.log_target


def seed_of(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def usable(frames: Frames) -> Frames:
    return frames[(frames.coordinates.isfinite().flatten(1).all(1) & frames.log_target.isfinite()).nonzero()[:, 0]]


def taken(message: Any, sent: Any) -> bool:
    try:
        sent.put(message, timeout=5)
    except queue.Full:
        return False
    return True


def draw_for_ever(parent: str, names: list[str], frames: dict[str, Any], weights: Path, count: int, seed: int, sent: Any) -> None:
    """What a worker does: samples of its peptides in turn; the first time, what the network is told of the peptide, and its frames, too."""
    torch.set_num_threads(1)
    known = BoltzmannGenerator(FORCE_FIELD, TEMPERATURE, parent)
    network, prepared = known.network, dict[str, PreparedMolecule]()
    for number, name in enumerate(itertools.cycle(names)):
        first = name not in prepared
        try:
            if first:
                prepared[name] = PreparedMolecule.of(peptide(name), known.source, TEMPERATURE)
        except ConfGFError as error:
            print(f"{name} is left out: {error}", flush=True)
            continue
        if weights.exists():
            network.load_state_dict(torch.load(weights, weights_only=True))
        parts = [usable(draw_samples(prepared[name], network, count, seed_of(seed, number)).frames)]
        if first and name in frames:
            positions = frames[name][:: math.ceil(len(frames[name]) / count)].astype(np.float64)
            parts.append(usable(Frames.of(prepared[name], prepared[name].placement.relabelled(torch.from_numpy(positions)).numpy())))
        message = name, prepared[name].batch if first else None, [[values.numpy() for values in tensors_of(part)] for part in parts]
        while not taken(message, sent):
            if not (learner := multiprocessing.parent_process()) or not learner.is_alive():
                return


class Lessons:
    """What is known of one peptide, on the learner's device; `loss` adds its gradient to the network's.

    On a GPU the gradient is recorded as a CUDA graph, which is one launch instead of a thousand.
    """

    def __init__(self, network: AutoregressiveDensity, batch: PlacementBatch, k: int, share: float) -> None:
        self.network, self.batch, self.k, self.share = network, batch, k, share
        self.heavy: Frames | None = None
        self.frames: Frames | None = None
        self._replay: torch.cuda.CUDAGraph | None = None

    def take(self, own: Frames, frames: Frames | None) -> None:
        """Samples anew; those of largest weight of all that were there stay."""
        self.frames = frames or self.frames
        rows = Frames.together([part for part in (own, self.heavy, self.frames) if part is not None])
        with torch.no_grad(), self._rounded():
            static = self.network.static(self.batch)
            pieces = zip(rows.coordinates.split(PIECE), rows.placed.split(PIECE), strict=True)
            log_q = torch.cat([self.network.log_prob(self.batch, *piece, static).double() for piece in pieces])
        known = log_q.isfinite().nonzero()[:, 0]
        # none moves farther from where it is now than the objective allows
        self.rows, self.drawn = rows[known], log_q[known]
        of_frames = 0 if self.frames is None else len(self.frames.log_target)
        log_w = (rows.log_target - log_q)[: len(log_q) - of_frames].nan_to_num(nan=-math.inf, posinf=-math.inf)
        self.heavy = rows[log_w.topk(int(KEPT * len(log_w))).indices]

    def _rounded(self) -> torch.autocast:
        # nothing is kept of weights that are rounded: a CUDA graph would not see them change
        device = self.batch.atoms.device
        return torch.autocast(device.type, torch.bfloat16, enabled=multiplies_bfloat16(device), cache_enabled=device.type == "cpu")

    def loss(self, generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(self.drawn), (self.k,), device=self.drawn.device, generator=generator)
        given = (*tensors_of(self.rows[chosen]), self.drawn[chosen])
        if not self.drawn.is_cuda:
            return self._gradient(*given)
        if self._replay is None:
            self._given, before = [values.clone() for values in given], [p.grad.clone() for p in self.network.parameters()]
            self._gradient(*self._given)  # what is looked up once is not recorded
            torch.cuda.current_stream().synchronize()
            self._replay = torch.cuda.CUDAGraph()
            self._replay.capture_begin(pool=POOL)
            self._loss = self._gradient(*self._given)
            self._replay.capture_end()
            for parameter, gradient in zip(self.network.parameters(), before, strict=True):
                parameter.grad.copy_(gradient)
        for own, new in zip(self._given, given, strict=True):
            own.copy_(new)
        self._replay.replay()
        return self._loss.clone()

    def _gradient(self, coordinates: Tensor, placed: Tensor, log_target: Tensor, drawn: Tensor) -> Tensor:
        with self._rounded():
            log_q = self.network.log_prob(self.batch, coordinates, placed).double()
        centre = (log_target - log_q.detach()).sort().values[len(log_q) // 2]
        loss = log_variance(log_q, log_target, centre, drawn)
        (self.share * loss).backward()
        return loss.detach()


POOL: Any = None
"""Memory that all graphs share, since they run one after the other."""


def look(network: AutoregressiveDensity, held_out: list[PreparedMolecule], count: int, seed: int) -> dict[str, float]:
    """ESS of fresh samples, and the variance of their log-weights, of peptides that are not learnt from."""
    shares, losses = [], []
    for known in held_out:
        log_w = draw_samples(known, network, count, seed).log_weights
        shares.append(effective_share(torch.softmax(log_w, 0)))
        losses.append(float((log_w - log_w.median()).clamp(-FARTHEST, FARTHEST).var()))
    return {"val_ess": float(np.mean(shares)), "val_loss": float(np.mean(losses))}


def look_for_ever(parent: str, count: int, asked: Any, told: Any) -> None:
    """What the process beside the learner does: looks at the weights that it is sent."""
    torch.set_num_threads(1)
    known = BoltzmannGenerator(FORCE_FIELD, TEMPERATURE, parent)
    held_out = [PreparedMolecule.of(peptide(name), known.source, TEMPERATURE) for name in VALIDATION]
    while (given := asked.get()) is not None:
        known.network.load_state_dict({name: torch.from_numpy(values) for name, values in given[1].items()})
        told.put(given[0] | look(known.network, held_out, count, seed=int(given[0]["step"])))


def as_arrays(state: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: values.numpy() for name, values in copied_to_cpu(state).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--from", dest="parent", default="boltzmann")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("-k", type=int, default=64, help="conformations of a peptide in a step; 512 on a GPU")
    parser.add_argument("--molecules", type=int, default=8, help="peptides of a step; 12 on a GPU")
    parser.add_argument("--samples", type=int, default=256, help="drawn of a peptide at once; 2048 on a GPU")
    parser.add_argument("--every", type=int, default=1, help="take one peptide in so many, besides those that were simulated")
    parser.add_argument("--looks", type=int, default=20)
    parser.add_argument("--learning-rate", type=float, default=4e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cuda, where there is one")
    arguments = parser.parse_args()
    start_processes_of = multiprocessing.get_context("spawn")
    files = sorted(path for path in arguments.folder.glob("*.npz") if path.stem not in TEST)
    frames = {path.stem: np.load(path)["positions"] for path in files}
    learnt = [name for name in chosen_names(frames, arguments.every) if name not in VALIDATION]
    names = [str(name) for name in np.random.default_rng(arguments.seed).permutation(learnt)]
    arguments.output.mkdir(parents=True, exist_ok=True)
    sent, asked, told = start_processes_of.Queue(32), start_processes_of.Queue(), start_processes_of.Queue()
    weights = arguments.output / "now.pt"
    weights.unlink(missing_ok=True)
    processes = []
    for k in range(arguments.workers):
        share = names[k :: arguments.workers]
        own = {name: frames[name] for name in share if name in frames}
        given = (arguments.parent, share, own, weights, arguments.samples, arguments.seed + k, sent)
        processes.append(start_processes_of.Process(target=draw_for_ever, args=given, daemon=True))
    processes.append(start_processes_of.Process(target=look_for_ever, args=(arguments.parent, 2048, asked, told), daemon=True))
    for process in processes:
        process.start()
    try:
        if arguments.device == "cpu":
            network, step = learn(arguments, weights, sent, asked, told)
        else:
            global POOL
            POOL = torch.cuda.graph_pool_handle()
            torch.set_float32_matmul_precision("high")
            with torch.cuda.stream(torch.cuda.Stream(arguments.device)):
                network, step = learn(arguments, weights, sent, asked, told)
    finally:
        for process in processes:
            process.terminate()
    settings = {key: value for key, value in vars(arguments).items() if key not in ("folder", "output", "device", "parent", "workers")}
    parent = BoltzmannGenerator(FORCE_FIELD, TEMPERATURE, arguments.parent).loaded.card
    counts, graphs = [len(frames[path.stem]) for path in files], [peptide(name) for name in [*names, *VALIDATION]]
    card = card_of("boltzmann", network, files, counts, settings | {"steps": step}, parent, graphs)
    save_weights(arguments.output / "boltzmann.safetensors", network, card)


def learn(arguments: argparse.Namespace, weights: Path, sent: Any, asked: Any, told: Any) -> tuple[AutoregressiveDensity, int]:
    """Steps until the time is over; the averaged weights, and how many steps there were."""
    start, device = time.perf_counter(), torch.device(arguments.device)
    network = BoltzmannGenerator(FORCE_FIELD, TEMPERATURE, arguments.parent).network.to(device).requires_grad_(True)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    averaged = AveragedModel(network, multi_avg_fn=average_weights)
    optimizer = torch.optim.AdamW(network.parameters(), betas=(0.9, 0.98), weight_decay=1e-2)
    generator, rng = torch.Generator(device).manual_seed(arguments.seed), np.random.default_rng(arguments.seed)
    state, rows, step, before = arguments.output / "last.pt", [], 0, 0.0
    if state.exists():
        saved = torch.load(state, map_location="cpu", weights_only=True)
        network.load_state_dict(saved["network"])
        averaged.load_state_dict(saved["averaged"])
        optimizer.load_state_dict(saved["optimizer"])
        step, before, rows = saved["step"], saved["minutes"], saved["rows"]
    lessons: dict[str, Lessons] = {}
    losses: list[Tensor] = []
    received, looked, published = 0, int(before * arguments.looks / arguments.minutes), 0.0

    def row_now(minutes: float) -> dict[str, float]:
        row = {"step": step, "minutes": minutes, "peptides": len(lessons), "received": received}
        return row | ({"loss": float(torch.stack(losses).mean())} if losses else {})

    def record() -> None:
        while not told.empty():
            rows.append(told.get())
            print(" ".join(f"{key} {value:.4g}" for key, value in rows[-1].items()), flush=True)
        write_whole(arguments.output / "log.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    while (share := (before + (time.perf_counter() - start) / 60) / arguments.minutes) < 1:
        try:
            name, batch, parts = sent.get(block=len(lessons) < arguments.molecules, timeout=60)
        except queue.Empty:
            pass
        else:
            received += 1
            own, *more = (Frames(*(torch.from_numpy(values).to(device) for values in part)) for part in parts)
            if batch is not None:
                lessons[name] = Lessons(network, batch.to(device), arguments.k, 1 / arguments.molecules)
            lessons[name].take(own, more[0] if more else None)
        if len(lessons) < arguments.molecules:
            continue
        for chosen in rng.choice(list(lessons), arguments.molecules, replace=False):
            losses.append(lessons[chosen].loss(generator))
        for group in optimizer.param_groups:
            group["lr"] = arguments.learning_rate * min(1.0, (step + 1) / 100, 2 * (1 - share))
        if torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0).isfinite():
            optimizer.step()
            averaged.update_parameters(network)
        optimizer.zero_grad(set_to_none=False)
        step += 1
        now = time.perf_counter() - start
        if now - published > 5:
            published, content = now, io.BytesIO()
            torch.save(copied_to_cpu(network.state_dict()), content)
            write_whole(weights, content.getvalue())
            record()
        if int(share * arguments.looks) > looked:
            looked = int(share * arguments.looks)
            asked.put((row_now(before + now / 60), as_arrays(averaged.module.state_dict())))
            losses.clear()
            kept = {"network": network.state_dict(), "averaged": averaged.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(kept | {"step": step, "minutes": before + now / 60, "rows": rows}, state)
    network.load_state_dict(averages := copied_to_cpu(averaged.module.state_dict()))
    asked.put((row_now(arguments.minutes), as_arrays(averages)))
    while not rows or rows[-1]["step"] < step:
        rows.append(told.get(timeout=300))
        print(" ".join(f"{key} {value:.4g}" for key, value in rows[-1].items()), flush=True)
    record()
    return network.cpu(), step


if __name__ == "__main__":
    main()

"""Time of a velocity with its exact divergence, ours against the published way, in turn on the same conformations.

    python devtools/benchmarks/exact_trace.py [--atoms 22] [--width 64] [--layers 5] [--batch 16] [--repeats 5] [--device cpu]

The published way is 3N backward passes through the network as it was published, which makes each edge's input by concatenation and
gathers and scatters along a list of edges. Medians over the repeats: of the processor's time of one thread, or of the wall clock on a
GPU. Largest differences are from the published way, in units of the spread of divergences.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import silu

from openmm_confgf.models.divergence import MolecularField, VelocityField, backward, forward, structured
from openmm_confgf.models.egnn import EGNN, EGNNConfig, EGNNLayer, without_mean
from openmm_confgf.tables import Column, markdown_lines

COLUMNS = (
    Column("way", align="left"),
    Column("time of a conformation", "ms", "{:.2f}"),
    Column("times as fast", layout="{:.2f}"),
    Column("largest difference", layout="{:.1e}"),
)


class PublishedField:
    """The velocity of an `EGNN` by the published operations."""

    mask = None

    def __init__(self, field: MolecularField) -> None:
        self.network, self.features = field.network, field.features

    def __call__(self, t: Tensor, positions: Tensor) -> Tensor:
        """As `MolecularField`."""
        b, n, _ = positions.shape
        pairs = (~torch.eye(n, dtype=torch.bool, device=positions.device)).nonzero()
        i, j = (pairs.T[:, None] + n * torch.arange(b, device=positions.device)[:, None]).flatten(1)
        x, h = positions.reshape(-1, 3), self.network.embed(t, positions, self.features).flatten(0, 1)
        at_input = (x[i] - x[j]).square().sum(1, keepdim=True)
        for layer in self.network.layers:
            x, h = self._layer(layer, x, h, i, j, at_input)
        return without_mean(x.view(b, n, 3) - positions)

    def _layer(self, layer: EGNNLayer, x: Tensor, h: Tensor, i: Tensor, j: Tensor, at_input: Tensor) -> tuple[Tensor, Tensor]:
        difference = x[i] - x[j]
        squared = difference.square().sum(1, keepdim=True)
        message = silu(layer.edge_out(silu(layer.edge_in(torch.cat([h[i], h[j], squared, at_input], 1)))))
        message = message * torch.sigmoid(layer.gate(message))
        strength = torch.tanh(layer.shift_out(silu(layer.shift_in(message)))) * self.network.reach
        moved = x.index_add(0, i, difference / (torch.sqrt(squared + 1e-8) + 1) * strength)
        if layer.updates:
            received = torch.zeros_like(h).index_add(0, i, message)
            h = h + layer.node_out(silu(layer.node_in(torch.cat([h, received], 1))))
        return moved, h

    def rows(self, chosen: Tensor) -> "PublishedField":
        """Of one molecule, so that all rows are alike."""
        return self


def seconds(work: Callable[[], tuple[Tensor, Tensor]], device: torch.device) -> tuple[float, Tensor]:
    """Time of a call, and the divergences that it gives."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    if device.type == "cuda":
        torch.cuda.synchronize()
    begin = clock()
    found = work()[1]
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - begin, found


@torch.no_grad()
def main(atoms: int, width: int, layers: int, batch: int, repeats: int, device: torch.device) -> None:
    """Print the table."""
    torch.manual_seed(0)
    network = EGNN(EGNNConfig(atoms, width, layers)).requires_grad_(False).to(device)
    for layer in network.layers:  # as after a training, and not as small as at its start
        torch.nn.init.xavier_uniform_(layer.shift_out.weight, gain=0.1)
    field = MolecularField(network, torch.eye(atoms, device=device))
    positions, t = without_mean(3 * torch.randn(batch, atoms, 3, device=device)), torch.tensor(0.5, device=device)
    published: VelocityField = PublishedField(field)
    ways: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
        "as published: 3N backward passes, concatenated edges": lambda: backward(published, t, positions),
        "3N backward passes through our network": lambda: backward(field, t, positions),
        "forward mode in chunks": lambda: forward(field, t, positions),
        "closed form": lambda: structured(field, t, positions),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    divergences = {}
    for k in range(repeats + 1):
        for name, work in ways.items():
            taken, divergences[name] = seconds(work, device)
            if k:  # the first fills caches
                times[name].append(taken / batch)
    first, *_ = ways
    spread = divergences[first].std()
    medians = {name: statistics.median(values) for name, values in times.items()}
    difference = {name: ((found - divergences[first]).abs().max() / spread).item() for name, found in divergences.items()}
    rows = [[name, 1e3 * value, medians[first] / value, difference[name]] for name, value in medians.items()]
    print(f"N = {atoms}, EGNN {width} x {layers}, batch {batch}, {device}, {torch.get_num_threads()} threads")
    for line in markdown_lines(COLUMNS, rows):
        print(line)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("atoms", 22), ("width", 64), ("layers", 5), ("batch", 16), ("repeats", 5), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", type=torch.device, default="cpu")
    arguments = vars(parser.parse_args())
    torch.set_num_threads(arguments.pop("threads"))
    main(**arguments)

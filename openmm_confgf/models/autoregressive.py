"""AutoregressiveDensity: one atom after the other, each with a length, an angle and a dihedral whose densities depend on those before."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from .conditionals import (
    BROAD_SHARE,
    BROAD_WIDTH,
    broken_line_log_prob,
    sample_broken_line,
    sample_truncated_mixture,
    truncated_mixture_log_prob,
)
from .features import ATOM_VOCABULARY, PAIR_VOCABULARY
from .graph_attention import GraphAttention
from .local_frames import (
    GEOMETRY,
    TURN,
    Steps,
    beside_sibling,
    coordinates_in,
    local_frames,
    place,
    scaled,
    seen_from,
    whitened_coordinates,
)
from .placement_arrays import NUMBERS
from .placement_batch import PlacementBatch
from .torsion_profiles import INTERACTIONS, meeting_profile, on_nodes, torsion_profile

_LONGEST = 1.0
"""nm: no bond is longer."""

_MARGIN = 1e-3
"""Share of the range of an angle, or of a second length, that is left out at both ends."""


@dataclasses.dataclass(frozen=True)
class AutoregressiveConfig:
    """Sizes of an `AutoregressiveDensity`.

    Attributes
    ----------
    width : int
        Channels of a step's context.
    static_width, static_layers : int
        Of the attention over the atoms of the molecular graph, which sees no positions.
    pair_width : int
        Channels from which the weights of each pair of steps are made.
    blocks : int
        Residual blocks before the length; one more each before the angle and the dihedral.
    lengths, turns : int
        Gaussians of lengths and angles, and of dihedrals beside a sibling or in a ring.
    bins : int
        Of torsions.
    nodes : int
        Intervals of the profiles that torsions start from; one says nothing, and there are none then.
    ahead : int
        Atoms of which a profile tells the interactions, at most: the torsion's own, and those that turn with it.
    reach : int
        Pairs of places where two charged groups may be, at most, so that a profile tells of them; one: of none.
    """

    width: int = 192
    static_width: int = 128
    static_layers: int = 3
    pair_width: int = 48
    blocks: int = 2
    lengths: int = 3
    turns: int = 6
    bins: int = 90
    nodes: int = 1
    ahead: int = 1
    reach: int = 1


@dataclasses.dataclass(frozen=True)
class Static:
    """What the network makes of a molecule before it sees positions.

    Attributes
    ----------
    weights : Tensor, (N, N * GEOMETRY, width)
        From what is placed to the context of each step.
    modulation : Tensor, (N, blocks + 2, 2, width)
        Scales and shifts in each block.
    bias : Tensor, (N, width)
    heads : Tensor, (N, ...)
        Biases of the steps' heads.
    strengths : Tensor, (N, N, INTERACTIONS), optional
        How much each atom before a step counts in the profile of its torsion.
    carried : Tensor, (N, N, INTERACTIONS), optional
        The same, in the profiles of those torsions that a step's atom turns with.
    groups : Tensor, (N, N, INTERACTIONS), optional
        How much a charged group counts in a torsion's profile, where one that turns with it may meet it; by the later one of the torsion's
        step and that of the group, and the earlier one.
    """

    weights: Tensor
    modulation: Tensor
    bias: Tensor
    heads: Tensor
    strengths: Tensor | None = None
    carried: Tensor | None = None
    groups: Tensor | None = None


@dataclasses.dataclass(frozen=True)
class Given:
    """Conformations of which only some atoms are drawn.

    Attributes
    ----------
    placed : Tensor of float64, (B, N, 3)
        nm, in the order of the steps. The first conformation stays as it is: only its density is asked for.
    redrawn : Tensor of bool, (N,)
        Steps that are drawn in the others, none of the first three.
    """

    placed: Tensor
    redrawn: Tensor


class Block(nn.Module):
    """A residual block whose channels each step scales and shifts on its own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.inner, self.outer = nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, h: Tensor, modulation: Tensor) -> Tensor:
        """One block.

        Parameters
        ----------
        h : Tensor, (B, n, width)
        modulation : Tensor, (n, 2, width)

        Returns
        -------
        Tensor, (B, n, width)
        """
        return h + self.outer(silu(torch.addcmul(modulation[:, 1], self.inner(self.norm(h)), 1 + modulation[:, 0])))


class AutoregressiveDensity(nn.Module):
    """Density of a molecule's internal coordinates, each given those before it, as a sum of log conditionals.

    A step sees all atoms that are placed, in its own frame: what it makes of each is a linear map whose weights come from the molecular
    graph and the force field's parameters alone (Ha, Dai & Le 2016, doi:10.48550/arXiv.1609.09106), so that they are computed once for a
    molecule. Residual blocks, whose channels the step modulates, lead from there to the parameters of the conditionals. Lengths, angles
    and the dihedrals beside a sibling start from the force field's equilibrium and thermal width; torsions are broken lines.
    """

    def __init__(self, config: AutoregressiveConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or AutoregressiveConfig()
        d, h, p = c.static_width, c.width, c.pair_width
        self.atom_embeddings = nn.ModuleList(nn.Embedding(n, d) for n in ATOM_VOCABULARY)
        self.pair_biases = nn.ModuleList(nn.Embedding(n, 8) for n in PAIR_VOCABULARY)
        self.pair_embeddings = nn.ModuleList(nn.Embedding(n, p) for n in PAIR_VOCABULARY)
        self.numbers = nn.Sequential(nn.Linear(NUMBERS, d), nn.SiLU(), nn.Linear(d, d))
        self.layers = nn.ModuleList(GraphAttention(d) for _ in range(c.static_layers))
        self.step = nn.Sequential(nn.Linear(5 * d, 2 * d), nn.SiLU(), nn.Linear(2 * d, d), nn.LayerNorm(d))
        self.pair_target, self.pair_source, self.pair_role = nn.Linear(d, p), nn.Linear(d, p), nn.Embedding(4, p)
        self.pair_inner = nn.Linear(p, p)
        self.pair_weights = nn.Linear(p, GEOMETRY * h)
        self.pair_strengths = nn.Linear(p, INTERACTIONS) if c.nodes > 1 else None
        self.carried_strengths = nn.Linear(p, INTERACTIONS) if min(c.nodes, c.ahead) > 1 else None
        self.group_strengths = nn.Linear(p, INTERACTIONS) if min(c.nodes, c.reach) > 1 else None
        self.modulate = nn.Linear(d, (c.blocks + 2) * 2 * h)
        self.bias = nn.Linear(d, h)
        self.blocks = nn.ModuleList(Block(h) for _ in range(c.blocks + 2))
        self.after_length, self.after_second = nn.Linear(2, h), nn.Linear(4, h)
        self.norms = nn.ModuleList(nn.LayerNorm(h) for _ in range(3))
        self.length_head, self.second_head = nn.Linear(h, 3 * c.lengths), nn.Linear(h, 3 * c.lengths)
        self.turn_head, self.torsion_head = nn.Linear(h, 3 * c.turns), nn.Linear(h, c.bins + 1)
        self.head_bias = nn.Linear(d, 6 * c.lengths + 3 * c.turns + c.bins + 1)
        for layer in (self.length_head, self.second_head, self.turn_head, self.torsion_head, self.modulate, self.head_bias):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        for strengths in filter(None, (self.pair_strengths, self.carried_strengths, self.group_strengths)):
            nn.init.zeros_(strengths.weight)
            nn.init.zeros_(strengths.bias)

    def static(self, batch: PlacementBatch) -> Static:
        """What is computed once for a molecule, however many conformations of it there are.

        Parameters
        ----------
        batch : PlacementBatch

        Returns
        -------
        Static
        """
        c, n = self.config, len(batch.atoms)
        h = sum(embed(batch.atoms[:, k]) for k, embed in enumerate(self.atom_embeddings)) + self.numbers(batch.numbers)
        bias = sum(embed(batch.pairs[..., k]) for k, embed in enumerate(self.pair_biases)).permute(2, 0, 1)
        for layer in self.layers:
            h = layer(h, bias)
        frame = h[batch.frames].flatten(1)
        step = self.step(torch.cat([h, frame, h.mean(0).expand(n, -1)], -1))
        target, source = torch.tril_indices(n, n, -1, device=h.device)
        role = torch.zeros(len(target), dtype=torch.long, device=h.device)
        for k in (2, 1, 0):
            role = torch.where(batch.frames[target, k] == source, k + 1, role)
        pair = self.pair_target(step)[target] + self.pair_source(step)[source] + self.pair_role(role)
        pair = pair + sum(embed(batch.pairs[target, source, k]) for k, embed in enumerate(self.pair_embeddings))
        inner = silu(self.pair_inner(silu(pair)))
        values = self.pair_weights(inner) / math.sqrt(GEOMETRY)
        weights = values.new_zeros(n, n, GEOMETRY, c.width)
        weights[target, source] = values.view(-1, GEOMETRY, c.width)
        strengths: list[Tensor | None] = [None, None, None]
        for k, linear in enumerate((self.pair_strengths, self.carried_strengths, self.group_strengths)):
            if linear is not None:
                strengths[k] = full = linear.weight.new_zeros(n, n, INTERACTIONS)
                full[target, source] = linear(inner).to(full)
        modulation = self.modulate(step).view(n, c.blocks + 2, 2, c.width)
        return Static(weights.flatten(1, 2), modulation, self.bias(step), self.head_bias(step), *strengths)

    def _context(self, static: Static, geometry: Tensor, steps: Steps) -> Tensor:
        """(B, n, width) from (B, n, m, GEOMETRY)."""
        b, n, m, _ = geometry.shape
        weights = static.weights[steps, : m * GEOMETRY]
        dtype = weights.dtype
        h = torch.baddbmm(static.bias[steps, None], geometry.to(dtype).flatten(2).transpose(0, 1), weights).transpose(0, 1)
        for k in range(self.config.blocks):
            h = self.blocks[k](h, static.modulation[steps, k])
        return h

    def _mixture(self, raw: Tensor, centre: Tensor, width: Tensor, mirror: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Log shares, means and log scales of K Gaussians about a centre, and of the broad one, (..., K + 1)."""
        shares, shift, stretch = raw.to(centre.dtype).chunk(3, -1)
        k = shares.shape[-1]
        centre, width = centre[..., None], width[..., None]
        spread = torch.linspace(-1, 1, k, dtype=centre.dtype, device=centre.device)
        means = centre if mirror is None else torch.where(mirror[..., None] & (spread > 0), TURN - centre, centre)
        means = means + width * (shift + 0.5 * spread)
        scales = width.log() + stretch.clamp(-4, 2.5)
        shares = shares - (torch.logsumexp(shares, -1, keepdim=True) - math.log(1 - BROAD_SHARE))
        return (
            pad(shares, (0, 1), value=math.log(BROAD_SHARE)),
            torch.cat([means, centre.expand_as(means[..., :1])], -1),
            torch.cat([scales, (BROAD_WIDTH * width).log().expand_as(scales[..., :1])], -1),
        )

    def _length(self, h: Tensor, batch: PlacementBatch, bias: Tensor, steps: Steps, dtype: torch.dtype) -> tuple[Tensor, ...]:
        raw = self.length_head(self.norms[0](h)) + bias[steps, : 3 * self.config.lengths]
        length = batch.length[steps].to(dtype)
        mixture = self._mixture(raw.to(dtype), length[:, 0].expand(h.shape[:2]), length[:, 1].expand(h.shape[:2]))
        lower = torch.zeros(h.shape[:2], dtype=dtype, device=h.device)
        return (*mixture, lower, torch.full_like(lower, _LONGEST))

    def _second(self, h: Tensor, batch: PlacementBatch, bias: Tensor, length: Tensor, placed: Tensor, steps: Steps) -> tuple[Tensor, ...]:
        c = self.config
        raw = self.second_head(self.norms[1](h)) + bias[steps, 3 * c.lengths : 6 * c.lengths]
        second = batch.second[steps].to(length.dtype)
        mixture = self._mixture(raw.to(length.dtype), second[:, 0].expand(h.shape[:2]), second[:, 1].expand(h.shape[:2]))
        # the triangle of the two neighbours and the atom
        apart = torch.linalg.vector_norm(placed[:, batch.frames[steps, 0]] - placed[:, batch.frames[steps, 1]], dim=-1)
        closes = batch.closes[steps]
        lower = torch.where(closes, (length - apart).abs(), 0.0)
        upper = torch.where(closes, length + apart, math.pi)
        # never quite in line, where there is no dihedral
        margin = _MARGIN * (upper - lower)
        return (*mixture, lower + margin, upper - margin)

    def _turn(
        self, h: Tensor, batch: PlacementBatch, bias: Tensor, near: Tensor, spread: Tensor, leading: Tensor, steps: Steps
    ) -> tuple[Tensor, ...]:
        """Of dihedrals that are no torsions; `leading` (B, n) is how far the leader's is from its start."""
        c = self.config
        raw = self.turn_head(self.norms[2](h)) + bias[steps, 6 * c.lengths : 6 * c.lengths + 3 * c.turns]
        start, width = batch.start[steps].to(near.dtype), batch.width[steps].to(near.dtype)
        beside = batch.beside[steps]
        centre = torch.where(beside, near, start + 0.5 * width)
        mixture = self._mixture(raw.to(near.dtype), centre, torch.where(beside, spread, 0.4), beside & (width > 6))
        upper = torch.where(batch.leaders[steps] >= 0, torch.minimum(start + width, TURN - leading), start + width)
        return (*mixture, start.expand_as(upper), upper)

    def _torsion(
        self,
        h: Tensor,
        static: Static,
        batch: PlacementBatch,
        frame: tuple[Tensor, Tensor],
        placed: Tensor,
        length: Tensor,
        second: Tensor,
        rows: list[int],
    ) -> Tensor:
        """Logits (B, n, bins + 1) of n steps, whose frames, lengths and angles are given."""
        c = self.config
        logits = self.torsion_head(self.norms[2](h)) + static.heads[rows, -(c.bins + 1) :]
        strengths, of_carried, of_groups = static.strengths, static.carried, static.groups
        if strengths is None or not rows:
            return logits
        # walls are steep: no half precision here
        with torch.autocast(placed.device.type, enabled=False):
            placed, origins, axes, lengths, angles = (each.to(strengths) for each in (placed, *frame, 10 * length, second))
            profiles = []
            for i, k in enumerate(rows):
                ahead = [] if of_carried is None else [(atom, of_carried[atom.step, :k]) for atom in batch.carried[k][: c.ahead - 1]]
                local = 10 * (placed[:, :k] - origins[:, i, None]) @ axes[:, i]
                profile = torsion_profile(batch, k, strengths[k, :k], local, lengths[:, i], angles[:, i], c.nodes + 1, ahead)
                if of_groups is not None:
                    seen = [meeting for meeting in batch.meetings[k] if meeting.pairs <= c.reach]
                    profile = profile + meeting_profile(batch, k, seen, of_groups, placed, (origins[:, i], axes[:, i]), c.nodes + 1)
                profiles.append(profile)
            return logits + on_nodes(torch.stack(profiles, 1), c.bins + 1)

    def _after_length(self, h: Tensor, static: Static, batch: PlacementBatch, length: Tensor, steps: Steps) -> Tensor:
        z = scaled(length, *batch.length[steps].unbind(-1))
        h = h + self.after_length(torch.stack([z, z.square()], -1).to(h.dtype))
        return self.blocks[-2](h, static.modulation[steps, -2])

    def _after_second(self, h: Tensor, static: Static, batch: PlacementBatch, second: Tensor, near: Tensor, steps: Steps) -> Tensor:
        z = scaled(second, *batch.second[steps].unbind(-1))
        h = h + self.after_second(torch.stack([z, z.square(), near.cos(), near.sin()], -1).to(h.dtype))
        return self.blocks[-1](h, static.modulation[steps, -1])

    def log_prob(self, batch: PlacementBatch, coordinates: Tensor, placed: Tensor, static: Static | None = None) -> Tensor:
        """Log density of internal coordinates; all steps at once.

        Parameters
        ----------
        batch : PlacementBatch
        coordinates : Tensor, (B, N, 3)
            As `Placement.coordinates` gives them, finite.
        placed : Tensor, (B, N, 3)
            Positions in nm, in the order of the steps. Their type is that in which the density is formed.
        static : Static, optional
            Of the batch, where it is known already.

        Returns
        -------
        Tensor, (B,)
        """
        static = static or self.static(batch)
        bias = static.heads
        steps = slice(None)
        length, second, turn = coordinates.unbind(-1)
        near, spread = beside_sibling(batch, placed, second, steps)
        whitened = whitened_coordinates(batch, coordinates, (near, spread), steps)
        frame = local_frames(batch, placed, steps)
        h = self._context(static, seen_from(frame, placed, whitened), steps)
        found = truncated_mixture_log_prob(length, *self._length(h, batch, bias, steps, placed.dtype))[:, 1:].sum(-1)
        h = self._after_length(h, static, batch, length, steps)
        found = found + truncated_mixture_log_prob(second, *self._second(h, batch, bias, length, placed, steps))[:, 2:].sum(-1)
        h = self._after_second(h, static, batch, second, near, steps)
        leading = turn[:, batch.leaders.clamp_min(0)]
        mixed, lines = batch.turns, batch.torsions
        mixture = self._turn(h[:, mixed], batch, bias, near[:, mixed], spread[:, mixed], leading[:, mixed], mixed)
        of_turns = truncated_mixture_log_prob(turn[:, mixed], *mixture)
        start, width = batch.start[lines].to(turn.dtype), batch.width[lines].to(turn.dtype)
        on_lines = (frame[0][:, lines], frame[1][:, lines])
        logits = self._torsion(h[:, lines], static, batch, on_lines, placed, length[:, lines], second[:, lines], batch.torsion_rows)
        of_lines = broken_line_log_prob(turn[:, lines] - start, logits.to(turn.dtype), width.expand(len(turn), -1))
        return found + of_turns.sum(-1) + of_lines.sum(-1)

    @torch.no_grad()
    def sample(
        self, batch: PlacementBatch, uniform: Tensor, static: Static | None = None, given: Given | None = None, broad: bool = True
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Coordinates and positions, atom by atom, and the density that they were drawn from.

        Parameters
        ----------
        batch : PlacementBatch
        uniform : Tensor of float64, (B, N, 6)
            Uniform random numbers in [0, 1), two for each coordinate.
        static : Static, optional
            As in `log_prob`.
        given : Given, optional
            Conformations of which only some atoms are drawn, each from its density given all that are placed before it.
        broad : bool
            Whether the broad components of lengths, angles and dihedrals beside siblings are drawn from, too. Of a hundred coordinates one
            is from them in every tenth sample, whose weight no training can change, so that such samples are noise to it.

        Returns
        -------
        coordinates, placed : Tensor of float64, (B, N, 3)
            The latter in nm, in the order of the steps: the first atom at 0, the second along z, the third beside; or where they are given.
        log_prob : Tensor of float64, (B,)
            What `log_prob` says of them, but for rounding; of the atoms that are drawn alone, where some are given. Of the density with
            its broad components, whether they are drawn from or not.
        """
        static = static or self.static(batch)
        bias = static.heads
        count, n = uniform.shape[:2]
        placed, coordinates = uniform.new_zeros(count, n, 3), uniform.new_zeros(count, n, 3)
        whitened, found = uniform.new_zeros(count, n, 5), uniform.new_zeros(count, 1)
        torsions = set(batch.torsion_rows)
        # the broad component is the last one
        share = 1.0 if broad else 1 - BROAD_SHARE
        if given is not None:
            placed[:, 0] = given.placed[:, 0]
        for k in range(1, n):
            step, before = slice(k, k + 1), placed[:, :k]
            draw, frame = uniform[:, step], local_frames(batch, before, step)
            known = None if given is None else coordinates_in(batch, frame, before, given.placed[:, step], step)
            if given is not None and known is not None and not given.redrawn[k]:
                coordinates[:, step], placed[:, step] = known, given.placed[:, step]
                sibling = beside_sibling(batch, before, known[..., 1], step)
                whitened[:, step] = whitened_coordinates(batch, known, sibling, step)
                continue
            h = self._context(static, seen_from(frame, before, whitened[:, :k]), step)
            mixture = self._length(h, batch, bias, step, uniform.dtype)
            length = _first_kept(sample_truncated_mixture(share * draw[..., 0], draw[..., 1], *mixture), known, 0)
            found += truncated_mixture_log_prob(length, *mixture)
            second, turn = torch.zeros_like(length), torch.zeros_like(length)
            if k > 1:
                h = self._after_length(h, static, batch, length, step)
                mixture = self._second(h, batch, bias, length, before, step)
                second = _first_kept(sample_truncated_mixture(share * draw[..., 2], draw[..., 3], *mixture), known, 1)
                found += truncated_mixture_log_prob(second, *mixture)
            sibling = beside_sibling(batch, before, second, step)
            if k > 2:
                h = self._after_second(h, static, batch, second, sibling[0], step)
                if k in torsions:
                    logits = self._torsion(h, static, batch, frame, before, length, second, [k]).to(uniform.dtype)
                    start = batch.start[step].to(uniform.dtype)
                    width = batch.width[step].to(uniform.dtype).expand_as(second)
                    turn = _first_kept(start + sample_broken_line(draw[..., 4], draw[..., 5], logits, width), known, 2)
                    found += broken_line_log_prob(turn - start, logits, width)
                else:
                    leading = coordinates[:, batch.leaders[step].clamp_min(0), 2]
                    mixture = self._turn(h, batch, bias, *sibling, leading, step)
                    turn = _first_kept(sample_truncated_mixture(share * draw[..., 4], draw[..., 5], *mixture), known, 2)
                    found += truncated_mixture_log_prob(turn, *mixture)
            coordinates[:, step] = torch.stack([length, second, turn], -1)
            if k == 1:
                placed[:, 1, 2] = length[:, 0]
            else:
                placed[:, step] = place(batch, frame, before, length, second, turn, step)
            if given is not None:
                placed[0, step] = given.placed[0, step]
            whitened[:, step] = whitened_coordinates(batch, coordinates[:, step], sibling, step)
        return coordinates, placed, found[:, 0]


def _first_kept(drawn: Tensor, known: Tensor | None, column: int) -> Tensor:
    """What was drawn (B, n), but for the first conformation where coordinates (B, n, 3) are known."""
    return drawn if known is None else torch.cat([known[:1, :, column], drawn[1:]])

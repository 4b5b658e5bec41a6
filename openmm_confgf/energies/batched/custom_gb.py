"""OpenMM's CustomGBForce, read into a `Term` module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import openmm
import torch
from torch import Tensor, nn

from .coordinates import Frames
from .custom import exclusions, global_values, particle_columns, read_expression
from .expressions import Program
from .pair_list import PairList
from .term import Cutoff, PlacedForce, Term

_OF_ATOMS = openmm.CustomGBForce.SingleParticle
_WITH_EXCLUSIONS = openmm.CustomGBForce.ParticlePair


class _Stage(nn.Module):
    """A computed value, or a part of the energy: of atoms (one program) or of pairs (one, or one for each side of the pair)."""

    def __init__(self, name: str, kind: int, *programs: Program) -> None:
        super().__init__()
        self.name, self.kind = name, kind
        self.programs = nn.ModuleList(programs)


class CustomGBTerm(Term):
    """Values of atoms computed one after the other, and an energy of atoms and pairs that depends on them.

    Parameters
    ----------
    placed : sequence of PlacedForce
        CustomGBForces that differ in their particles and exclusions only.
    molecules : int
    pairs : PairList
        All pairs.

    Raises
    ------
    UnsupportedForceError
        If an expression cannot be evaluated.
    """

    pair_owners: Tensor
    kept: Tensor | None

    def __init__(self, placed: Sequence[PlacedForce], molecules: int, pairs: PairList) -> None:
        super().__init__([one.molecule for one in placed for _ in range(one.n_atoms)], molecules)
        force, self.pairs = placed[0].force, pairs
        self.register_buffer("pair_owners", torch.from_numpy(pairs.molecule))
        excluded = {(one.first_atom + i, one.first_atom + j) for one in placed for i, j in exclusions(one)}
        kept = torch.tensor([tuple(pair) not in excluded for pair in pairs.atoms.tolist()]).unsqueeze(-1)
        self.register_buffer("kept", None if kept.all() else kept)
        self.cutoff = Cutoff(force)
        particles = particle_columns(placed)
        constants: dict[str, Any] = global_values(placed[0])
        first, second = torch.from_numpy(pairs.atoms.T.copy())

        def sides(i: Tensor, j: Tensor) -> dict[str, Any]:
            return constants | {f"{name}{side}": column[atom] for name, column in particles.items() for side, atom in ((1, i), (2, j))}

        def stage(name: str, text: str, kind: int, *pair_constants: dict[str, Any]) -> _Stage:
            each = [constants | particles] if kind == _OF_ATOMS else pair_constants
            allowed = {*"xyz", *computed} if kind == _OF_ATOMS else {"r", *(f"{value}{side}" for value in computed for side in (1, 2))}
            expression = read_expression(force, text, allowed | set(each[0]))
            return _Stage(name, kind, *(expression.bind(values) for values in each))

        computed: list[str] = []
        self.values, self.energies = nn.ModuleList(), nn.ModuleList()
        for k in range(force.getNumComputedValues()):
            name, text, kind = force.getComputedValueParameters(k)
            self.values.append(stage(name, text, kind, sides(first, second), sides(second, first)))
            computed.append(name)
        for k in range(force.getNumEnergyTerms()):
            text, kind = force.getEnergyTermParameters(k)
            self.energies.append(stage("energy", text, kind, sides(first, second)))
        programs = [module for module in self.modules() if isinstance(module, Program)]
        self.translation_invariant = not any(set("xyz") & program.variables for program in programs)

    def forward(self, frames: Frames) -> Tensor:
        """As in `Term.forward`."""
        r = self.pairs.distances(frames)
        first, second = self.pairs.distances.column(0), self.pairs.distances.column(1)
        atoms, pair = dict(zip("xyz", frames.positions, strict=True)), {"r": r}
        for stage in self.values:
            assert isinstance(stage, _Stage)
            if stage.kind == _OF_ATOMS:
                value = stage.programs[0](atoms)
            else:
                onto_first, onto_second = (self._counted(program(pair), r, stage.kind) for program in stage.programs)
                value = r.new_zeros(frames.positions.shape[1:]).index_add(0, first, onto_first).index_add(0, second, onto_second)
            atoms[stage.name] = value
            pair |= {f"{stage.name}1": value.index_select(0, first), f"{stage.name}2": value.index_select(0, second)}
        total = r.new_zeros(self.molecules, r.shape[1])
        for stage in self.energies:
            assert isinstance(stage, _Stage)
            if stage.kind == _OF_ATOMS:
                total = total + self.total(stage.programs[0](atoms))
            else:
                total = total + self.total(self._counted(stage.programs[0](pair), r, stage.kind), self.pair_owners)
        return total

    def _counted(self, values: Tensor, r: Tensor, kind: int) -> Tensor:
        """Of each pair and conformation; zero for pairs that are excluded or too far apart."""
        values = values.expand_as(r)
        if self.kept is not None and kind == _WITH_EXCLUSIONS:
            values = torch.where(self.kept, values, 0)
        return self.cutoff.within(r, values)

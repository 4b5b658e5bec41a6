"""Potential: the terms of one or several Systems summed, in pieces that fit into cache or memory, and compiled where asked for."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from ...devices import compile_problem, tell_of_halves
from ...errors import PlatformError
from .coordinates import Frames, InternalCoordinate
from .read_system import NamedTerm
from .term import Term

_CPU_ELEMENTS = 2**17
"""Interactions times conformations of one piece on a CPU: what an operation reads and writes then stays in its cache."""

_ARRAYS = 100
"""Arrays of that size which the forces of one piece hold at once, at most, on a GPU."""

_SMALLEST_PIECE = 16

_ROUNDING = 1e4
"""Units in the last place, of the sum of all terms or of the largest force, by which compiled code may differ."""

_PROBE = 0.005
"""Largest displacement (nm) of a coordinate where compiled code is compared with the terms."""

_Evaluation = Callable[[Tensor], tuple[Tensor, Tensor | None]]


class Potential(nn.Module):
    """The energy of molecules whose atoms are counted through.

    Parameters
    ----------
    terms : sequence of NamedTerm
    sizes : sequence of int, (M,)
        Atoms of each molecule.
    compiled : bool
        Whether `evaluate` runs compiled code.

    Attributes
    ----------
    molecules : int
        M.
    labels : list of (str, int)
        The name and the group of each term's force.
    """

    def __init__(self, terms: Sequence[NamedTerm], sizes: Sequence[int], compiled: bool = False) -> None:
        super().__init__()
        self.molecules, self.compiled = len(sizes), compiled
        self._parts = list(dict.fromkeys(named.molecules for named in terms))
        self._part_of = [self._parts.index(named.molecules) for named in terms]
        numbers = torch.arange(sum(sizes)).split(list(sizes))
        for k, molecules in enumerate(self._parts):
            whole = len(molecules) == len(sizes)
            self.register_buffer(f"atoms_{k}", None if whole else torch.cat([numbers[m] for m in molecules]))
        self.labels = [(named.name, named.group) for named in terms]
        self.terms = nn.ModuleList(named.term for named in terms)
        self._code: dict[tuple[int, bool], _Evaluation] = {}

    @property
    def translation_invariant(self) -> bool:
        """Whether the energy stays the same when all atoms are moved together."""
        return all(term.translation_invariant for term in self.terms if isinstance(term, Term))

    def forward(self, positions: Tensor) -> Tensor:
        """Energies as a differentiable function of positions.

        Parameters
        ----------
        positions : Tensor, (3, N, B)
            nm; N is the sum of `sizes`.

        Returns
        -------
        Tensor, (M, B)
            kJ/mol.
        """
        return sum(self.by_term(positions), positions.new_zeros(self.molecules, positions.shape[-1]))

    def by_term(self, positions: Tensor) -> list[Tensor]:
        """Energies of each term, in the order of `labels`.

        Parameters
        ----------
        positions : Tensor, (3, N, B)
            nm.

        Returns
        -------
        list of Tensor, (M, B)
            kJ/mol; zeros for molecules that have no such force.
        """
        index = [self.get_buffer(f"atoms_{k}") for k in range(len(self._parts))]
        frames = [Frames(positions if atoms is None else positions.index_select(1, atoms)) for atoms in index]
        return [term(frames[part]) for term, part in zip(self.terms, self._part_of, strict=True)]

    def evaluate(self, positions: Tensor, forces: bool) -> tuple[Tensor, Tensor | None]:
        """Energies, and forces if asked for, without a graph.

        Parameters
        ----------
        positions : Tensor, (3, N, B)
            nm, in the type of the module's buffers.
        forces : bool

        Returns
        -------
        energies : Tensor, (M, B)
            kJ/mol.
        forces : Tensor, (3, N, B), or None
            kJ/mol/nm.

        Raises
        ------
        PlatformError
            If not even the smallest piece fits into a GPU's memory.
        """
        energies, all_forces = [positions.new_zeros(self.molecules, 0)], [positions.new_zeros(3, positions.shape[1], 0)]
        for _, energy, force_values in self.pieces(positions, forces, positions.dtype):
            energies.append(energy)
            if force_values is not None:
                all_forces.append(force_values)
        return torch.cat(energies, -1), torch.cat(all_forces, -1) if forces else None

    def pieces(self, positions: Tensor, forces: bool, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor, Tensor | None]]:
        """As `evaluate`, piece by piece.

        Parameters
        ----------
        positions : Tensor, (3, N, B)
            nm, of any type and layout: a piece is copied while it is in the cache.
        forces : bool
        dtype : torch.dtype
            That of the module's buffers.

        Yields
        ------
        slice
            Which conformations, b of them.
        Tensor, (M, b)
            Their energies in kJ/mol.
        Tensor, (3, N, b), or None
            Their forces in kJ/mol/nm.

        Raises
        ------
        PlatformError
            If not even the smallest piece fits into a GPU's memory.
        """
        count, start = positions.shape[-1], 0
        size = self.piece_size(count, positions)
        while start < count:
            here = slice(start, min(start + size, count))
            try:
                found = self._piece(positions[..., here].to(dtype), size, forces)
            except torch.OutOfMemoryError as error:
                if size == _SMALLEST_PIECE:
                    raise PlatformError(f"The memory of the GPU does not hold {size} conformations; give device='cpu'.") from error
                tell_of_halves()
                size //= 2
                continue
            yield here, *found
            start = here.stop

    def piece_size(self, count: int, positions: Tensor) -> int:
        """How many conformations are evaluated at once: a power of two.

        As many as keep the widest operation in a CPU's cache, or all arrays of the forces in half of a GPU's free memory; no more than
        `count` takes, rounded up.

        Parameters
        ----------
        count : int
            How many there are.
        positions : Tensor, (3, N, B)
            Tells the device and the type.
        """
        widest = max([1, *(len(module) for module in self.modules() if isinstance(module, InternalCoordinate))])
        budget = _CPU_ELEMENTS
        if positions.is_cuda:
            free, _ = torch.cuda.mem_get_info(positions.device)
            budget = free // 2 // (_ARRAYS * positions.element_size())
        largest = max(_SMALLEST_PIECE, 2 ** int(math.log2(max(1, budget // widest))))
        return min(largest, max(_SMALLEST_PIECE, 2 ** math.ceil(math.log2(max(1, count)))))

    def _piece(self, positions: Tensor, size: int, forces: bool) -> tuple[Tensor, Tensor | None]:
        positions, count = positions.contiguous(), positions.shape[-1]
        if not self.compiled:
            return self._evaluate(positions, forces)
        full = torch.cat([positions, positions[..., :1].expand(-1, -1, size - count)], -1) if count < size else positions
        energy, force_values = self._compiled(full, forces)(full)
        return energy[..., :count], None if force_values is None else force_values[..., :count]

    def _evaluate(self, positions: Tensor, forces: bool) -> tuple[Tensor, Tensor | None]:
        if not forces:
            with torch.no_grad():
                return self(positions), None
        with torch.enable_grad():
            moved = positions.detach().requires_grad_(True)
            energy = self(moved)
            (gradient,) = torch.autograd.grad(energy.sum(), moved, allow_unused=True) if energy.requires_grad else (None,)
        return energy.detach(), torch.zeros_like(moved) if gradient is None else -gradient

    def _compiled(self, example: Tensor, forces: bool) -> _Evaluation:
        """Code for pieces of this size: the forces' operations are written out first, so that energy and forces are fused together."""
        key = (example.shape[-1], forces)
        if key not in self._code:

            def plain(positions: Tensor) -> tuple[Tensor, Tensor | None]:
                return self._evaluate(positions, forces)

            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    traced = make_fx(plain)(example)
                    code = torch.compile(traced, dynamic=False)
                    # away from minima, where forces cancel and rounding is all that is left of them
                    probe = example + _PROBE * torch.arange(example.numel(), device=example.device).sin().to(example).view_as(example)
                    with torch.no_grad():
                        found = code(probe)
                self._code[key] = code if self._is_right(probe, *found) else plain
            except torch._dynamo.exc.TorchDynamoException as error:
                warnings.warn(
                    f"torch cannot compile here ({compile_problem(error)}), so energies are evaluated without; install a C++ compiler.",
                    stacklevel=2,
                )
                self._code[key] = plain
        return self._code[key]

    def _is_right(self, probe: Tensor, energy: Tensor, forces: Tensor | None) -> bool:
        """Whether compiled code gives what the terms give, to rounding; old versions of torch compile some of them wrong."""
        right, right_forces = self._evaluate(probe, forces is not None)
        with torch.no_grad():
            size = sum((term.abs() for term in self.by_term(probe)), torch.ones_like(right))
        allowed = _ROUNDING * torch.finfo(right.dtype).eps
        # what has no finite energy is judged by nobody
        wrong = (right.isfinite() & ~((energy - right).abs() <= allowed * size)).any()
        if forces is not None and right_forces is not None:
            finite = right_forces.isfinite().all((0, 1))
            largest = right_forces.abs().amax((0, 1)).clamp_min(1.0)
            wrong |= (finite & ~((forces - right_forces).abs().amax((0, 1)) <= allowed * largest)).any()
        if wrong:
            warnings.warn(
                f"torch {torch.__version__} compiles these energies wrong, so they are evaluated without compiling; upgrade torch.",
                stacklevel=2,
            )
        return not wrong

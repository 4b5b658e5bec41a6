"""Term: what all forces have in common once they are read into torch modules."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...units import in_md_units
from .coordinates import Frames, InternalCoordinate
from .formulas import switching


@dataclasses.dataclass(frozen=True)
class PlacedForce:
    """A force of one of several molecules whose atoms are counted through.

    Attributes
    ----------
    force : openmm.Force
    molecule : int
        Which molecule.
    first_atom : int
        The number of its first atom.
    n_atoms : int
    parameters : mapping of str to float
        The values of all global parameters of its System.
    """

    force: Any
    molecule: int
    first_atom: int
    n_atoms: int
    parameters: Mapping[str, float]


class Term(nn.Module, abc.ABC):
    """The energy of a force, or of one such force in each of several molecules.

    Parameters
    ----------
    owners : sequence of int or Tensor of int64, (T,)
        The molecule of each interaction.
    molecules : int
        How many molecules there are, M.
    """

    owners: Tensor
    translation_invariant: bool = True
    """Whether the energy stays the same when all atoms are moved together."""

    def __init__(self, owners: Sequence[int] | Tensor, molecules: int) -> None:
        super().__init__()
        self.molecules = molecules
        self.register_buffer("owners", torch.as_tensor(owners, dtype=torch.int64))

    @abc.abstractmethod
    def forward(self, frames: Frames) -> Tensor:
        """Energies of all molecules.

        Parameters
        ----------
        frames : Frames
            Positions in nm of the atoms that the term counts through.

        Returns
        -------
        Tensor, (M, B)
            kJ/mol; zeros for a molecule that has no interaction here.
        """

    def total(self, energies: Tensor, owners: Tensor | None = None, few: bool = False) -> Tensor:
        """Sum over each molecule's interactions.

        Parameters
        ----------
        energies : Tensor, (T, B)
            kJ/mol.
        owners : Tensor of int64, (T,), optional
            The molecule of each row; by default the term's `owners`.
        few : bool
            Whether to add them one after the other, which costs digits where there are thousands. Compiled, a plain sum over what was
            gathered for it runs along the interactions, and gathers one by one.

        Returns
        -------
        Tensor, (M, B)
            kJ/mol.
        """
        if self.molecules == 1 and not few:
            return energies.sum(0, keepdim=True)
        summed = energies.new_zeros(self.molecules, energies.shape[1])
        return summed.index_add(0, self.owners if owners is None else owners, energies)


class Parameters(nn.Module):
    """Named parameters, a float64 column (T, 1) each, so that they broadcast along the batch.

    Parameters
    ----------
    values : mapping of str to array_like, (T,) or (T, 1)
        In md units.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__()
        self._columns = {name: f"parameter_{name}" for name in values}
        for name, value in values.items():
            self.register_buffer(self._columns[name], torch.as_tensor(value, dtype=torch.float64).reshape(-1, 1))

    def __getitem__(self, name: str) -> Tensor:
        return self.get_buffer(self._columns[name])

    def columns(self) -> tuple[Tensor, ...]:
        """All of them, in order, (T, 1) each."""
        return tuple(self[name] for name in self._columns)


class BondedTerm(Term):
    """A formula of one internal coordinate: bonds, angles, torsions.

    Parameters
    ----------
    atoms : sequence of sequences of int, (T, 2), (T, 3) or (T, 4)
        Interactions of the same atoms share the coordinate.
    formula : callable
        Of the coordinate (T, B) in nm or radians and of the parameters in their order, (T, 1) each; gives energies (T, B) in kJ/mol.
    parameters : mapping of str to sequence of float, (T,)
        In md units.
    owners, molecules
        As in `Term`.
    """

    rows: Tensor

    def __init__(
        self,
        atoms: Sequence[Sequence[int]],
        formula: Callable[..., Tensor],
        parameters: Mapping[str, Any],
        owners: Sequence[int],
        molecules: int,
    ) -> None:
        super().__init__(owners, molecules)
        distinct = {tuple(row): None for row in atoms}
        place = {row: k for k, row in enumerate(distinct)}
        self.coordinate = InternalCoordinate(torch.tensor(list(distinct)))
        self.register_buffer("rows", torch.tensor([place[tuple(row)] for row in atoms]))
        self.formula = formula
        self.parameter = Parameters(parameters)

    def forward(self, frames: Frames) -> Tensor:
        """As in `Term.forward`."""
        values = self.coordinate(frames)
        if len(self.rows) != len(values):
            values = values.index_select(0, self.rows)
        return self.total(self.formula(values, *self.parameter.columns()), few=True)


class Cutoff:
    """Beyond which distance a nonbonded force ends, and how.

    Parameters
    ----------
    force : openmm.Force
        With a nonbonded method that is NoCutoff or CutoffNonPeriodic.

    Attributes
    ----------
    distance : float
        nm; infinite without a cutoff.
    """

    def __init__(self, force: Any) -> None:
        cut = force.getNonbondedMethod() == type(force).CutoffNonPeriodic
        self.distance = float(in_md_units(force.getCutoffDistance())) if cut else math.inf
        switched = cut and hasattr(force, "getUseSwitchingFunction") and force.getUseSwitchingFunction()
        self._switch = float(in_md_units(force.getSwitchingDistance())) if switched else math.inf

    def within(self, r: Tensor, values: Tensor) -> Tensor:
        """The values of pairs, zero where these are beyond the cutoff.

        Parameters
        ----------
        r : Tensor, (T, B)
            Distances in nm.
        values : Tensor, (T, B)
            Of any unit.

        Returns
        -------
        Tensor, (T, B)
        """
        return values if self.distance == math.inf else torch.where(r <= self.distance, values, 0)

    def switched(self, r: Tensor, values: Tensor) -> Tensor:
        """The values of pairs times `formulas.switching`, where the force has a switching function; as they are otherwise.

        Parameters
        ----------
        r : Tensor, (T, B)
            Distances in nm.
        values : Tensor, (T, B)
            Of any unit.

        Returns
        -------
        Tensor, (T, B)
        """
        return values * switching(r, self._switch, self.distance) if self._switch < self.distance else values


def rows_of(placed: Iterable[PlacedForce], count: str, get: str) -> Iterable[tuple[PlacedForce, list[Any]]]:
    """Each interaction of each force, in md units.

    Parameters
    ----------
    placed : iterable of PlacedForce
    count, get : str
        The force's methods that give the number of its interactions and the parameters of one, ``"getNumBonds"`` and
        ``"getBondParameters"``, say.

    Yields
    ------
    PlacedForce
    list
        What `get` gives: atoms in the force's own numbers, and parameters in nm, kJ/mol, radians and e.
    """
    for one in placed:
        for k in range(getattr(one.force, count)()):
            yield one, [in_md_units(value) for value in getattr(one.force, get)(k)]

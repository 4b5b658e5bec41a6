"""What is taken for a force field: a name, something of OpenMM's or openmmforcefields', a System of one's own, or a function."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import openmm
from openmm import app

from ...ensemble import Target
from ...errors import ConfGFError, ForceFieldError, WrongTypeError, type_text
from ...molecules.graph import MolecularGraph
from ..batched.read_system import system_hash
from .forcefields import CHARGE_MODEL, SystemBuilder
from .forcefields import _first_line as first_line
from .forcefields import _quiet as quiet
from .match import check_particles

_TAKEN = (
    "the name of one, a SystemBuilder, an openmm.System, an openmm.app.ForceField, a SystemGenerator, or a function from a MolecularGraph "
    "to a System"
)


@dataclasses.dataclass(frozen=True)
class SystemSource:
    """Makes the System of one molecule after the other.

    Attributes
    ----------
    forcefield : str
        What it is called in tables, in `Provenance` and `Target`; a System of one's own has no name, its `system_sha256` is told beside it.
    charges : str or None
        Where the partial charges come from; None where that is not known.
    build : callable
        From a graph to its System, whose particles are the graph's atoms in their order.
    """

    forcefield: str
    charges: str | None
    build: Callable[[MolecularGraph], openmm.System]

    def settings(self, system: openmm.System) -> dict[str, Any]:
        """What `Provenance.settings` says of a System that was made here: force field, charges and the System's sha256.

        Parameters
        ----------
        system : openmm.System
        """
        return {"forcefield": self.forcefield, "charges": self.charges, "system_sha256": system_hash(system)}

    def target(self, system: openmm.System, temperature: float | None = None) -> Target:
        """What energies of a System that was made here are of.

        Parameters
        ----------
        system : openmm.System
        temperature : float or Quantity, optional
            K, at which they are to be weighed; None for minima.

        Raises
        ------
        ConfGFError
            If the temperature is not a finite one above 0 K.
        """
        return Target(self.forcefield, system_hash(system), temperature)


ForceFieldLike = str | SystemBuilder | SystemSource | Callable[[MolecularGraph], openmm.System] | Any
"""What `system_source` takes; OpenMM's and openmmforcefields' classes have no types for a checker to see."""


def system_source(forcefield: ForceFieldLike) -> SystemSource:
    """Whatever can make a System, under one face.

    Parameters
    ----------
    forcefield : str, SystemBuilder, openmm.System, openmm.app.ForceField, openmmforcefields SystemGenerator or callable
        A name is one of `SystemBuilder`. Of the others each System is checked: its particles must be the molecule's atoms in its order.
        ForceField and SystemGenerator are asked for a System without constraints and cutoff as far as their own settings allow it.

    Returns
    -------
    SystemSource
        The same where one was given.

    Raises
    ------
    WrongTypeError
        If it is none of these.
    ForceFieldError
        If a name is unknown. `build` raises it where there is no System for the molecule, or where it has other particles.
    """
    if isinstance(forcefield, SystemSource):
        return forcefield
    if isinstance(forcefield, str):
        forcefield = SystemBuilder(forcefield)
    if isinstance(forcefield, SystemBuilder):
        return SystemSource(forcefield.forcefield, _charges(forcefield.forcefield), forcefield.build)
    if isinstance(forcefield, openmm.System):
        return _checked("openmm.System", lambda _: forcefield)
    if isinstance(forcefield, app.ForceField):
        settings = {"nonbondedMethod": app.NoCutoff, "constraints": None, "rigidWater": False}
        return _checked("openmm.app.ForceField", lambda graph: forcefield.createSystem(graph.to_topology(), **settings))
    if _is_system_generator(forcefield):
        return _checked("SystemGenerator", lambda graph: _generated(forcefield, graph))
    if callable(forcefield) and not isinstance(forcefield, type):
        return _checked(getattr(forcefield, "__qualname__", type(forcefield).__name__), forcefield)
    raise WrongTypeError(f"{type_text(forcefield)} is not taken for a force field; give {_TAKEN}.")


def _checked(label: str, make: Callable[[MolecularGraph], Any]) -> SystemSource:
    def build(graph: MolecularGraph) -> openmm.System:
        try:
            with quiet():
                system = make(graph)
        except ConfGFError:
            raise
        except Exception as error:  # whatever a user's function or a template generator raises
            raise ForceFieldError(
                f"{label} makes no System of {graph.name!r} ({first_line(error)}); mend it, or take openff-2.2.1."
            ) from error
        if not isinstance(system, openmm.System):
            raise WrongTypeError(f"{label} makes {type_text(system)} of {graph.name!r}; let it return an openmm.System.")
        check_particles(system, graph, label)
        return system

    return SystemSource(label, None, build)


def _charges(forcefield: str) -> str:
    """Where the charges of a `SystemBuilder` come from."""
    return "of its XML files" if forcefield.endswith(".xml") else f"NAGL AM1-BCC ({CHARGE_MODEL})"


def _is_system_generator(forcefield: Any) -> bool:
    """Told by name, so that openmmforcefields, which loads for seconds, is imported only where it is in use."""
    return any(kind.__module__.startswith("openmmforcefields") and kind.__name__ == "SystemGenerator" for kind in type(forcefield).__mro__)


def _generated(generator: Any, graph: MolecularGraph) -> Any:
    """The System of a SystemGenerator: from what it knows, which may have the user's charges, else after telling it the molecule."""
    try:
        return generator.create_system(graph.to_topology())
    except ValueError:  # "No template found"
        return generator.create_system(graph.to_topology(), molecules=[graph.to_openff()])

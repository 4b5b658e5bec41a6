"""Systems from XML files that may hold PythonForces: their pickled functions are looked at before anything is unpickled."""

from __future__ import annotations

import binascii
import pickletools
from pathlib import Path

import openmm

from ..energies.systems.xml import system_of_xml
from ..errors import FileFormatError
from .graph_force import GraphForce
from .learned_potential import LearnedPotential
from .pseudo_force import PseudoForce

OURS: dict[tuple[str, str], type[GraphForce]] = {(kind.__module__, kind.__qualname__): kind for kind in (LearnedPotential, PseudoForce)}
"""The forces that are restored, by module and name."""

_PLUMBING = {"PROTO", "FRAME", "MEMOIZE"}
_TEXT = "BINUNICODE"
_CALL_OF_A_CLASS = [_TEXT, _TEXT, "STACK_GLOBAL", _TEXT, _TEXT, _TEXT, "TUPLE3", "REDUCE", "STOP"]
"""By its module and name, with three strings."""


def read_system(xml: str | Path) -> openmm.System:
    """A System from its XML, as `openmm.XmlSerializer` wrote it.

    OpenMM runs what is pickled in a PythonForce when it reads one, and a pickle can do anything. Here each is taken apart first, and only
    the forces of this package are restored, with weights of the name and the sha256 that they were made with.

    Parameters
    ----------
    xml : str or Path
        The XML itself, or the path of a file.

    Raises
    ------
    FileFormatError
        If it is no System, or holds a PythonForce that is not this package's; nothing of it was run then.
    WeightsError
        If the weights of a force are not here, or others than those it was made with.
    """
    text = xml if isinstance(xml, str) and xml.lstrip().startswith("<") else _content(Path(xml))
    return system_of_xml(text, _restorable)


def _restorable(function: str) -> None:
    kind, (weights, sha256, molecule) = pickled_force(function)
    kind(weights, sha256, molecule)  # OpenMM would tell what is wrong with the weights in its own words, if at all


def pickled_force(function: str) -> tuple[type[GraphForce], tuple[str, str, str]]:
    """What a PythonForce would call, read from its pickle without running it.

    Parameters
    ----------
    function : str
        The pickle in hexadecimal digits, as in the XML.

    Returns
    -------
    type
        One of `OURS`.
    (str, str, str)
        Its weights, their sha256, and its molecule.

    Raises
    ------
    FileFormatError
        If it is anything else.
    """
    try:
        steps = [(operation.name, argument) for operation, argument, _ in pickletools.genops(binascii.unhexlify(function))]
    except ValueError as error:
        raise FileFormatError(f"A PythonForce in the XML has no readable function ({error}); write the System again.") from error
    work = [name.removeprefix("SHORT_") for name, _ in steps if name not in _PLUMBING]
    texts = [str(argument) for name, argument in steps if name.endswith(_TEXT)]
    if work == _CALL_OF_A_CLASS and (kind := OURS.get((texts[0], texts[1]))) is not None:
        return kind, (texts[2], texts[3], texts[4])
    named = ".".join(texts[:2]) or "nothing that is named"
    raise FileFormatError(
        f"The XML holds a PythonForce that calls {named} and is none of openmm-confgf's; reading it would run what is in it. If you "
        "trust it, read it with openmm.XmlSerializer."
    )


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path} cannot be read as XML ({error}); give the file of a System.") from error

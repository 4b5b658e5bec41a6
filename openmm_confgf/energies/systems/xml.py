"""Systems from XML that somebody else may have written: OpenMM runs what is pickled in a PythonForce when it reads one."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree

import openmm

from ...errors import FileFormatError


def system_of_xml(text: str, look: Callable[[str], None]) -> openmm.System:
    """A System from its XML, as `openmm.XmlSerializer` wrote it, once its PythonForces were looked at.

    Parameters
    ----------
    text : str
    look : callable
        Called with the pickled function of each PythonForce, in hexadecimal digits; raises where it is not to be run.

    Raises
    ------
    FileFormatError
        If the XML is no System.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise FileFormatError(f"The XML of a System cannot be read ({error}); write it again with XmlSerializer.") from error
    for element in root.iter():
        if element.get("type") == "PythonForce":
            look(element.get("function", ""))
    try:
        # written again, so that OpenMM's reader sees no more than was looked at
        system = openmm.XmlSerializer.deserialize(ElementTree.tostring(root, encoding="unicode"))
    except (openmm.OpenMMException, ValueError) as error:
        raise FileFormatError(f"The XML is no System ({error}); write it again with XmlSerializer.") from error
    if not isinstance(system, openmm.System):
        raise FileFormatError(f"The XML is a {type(system).__name__} and no System; give that of the System.")
    return system

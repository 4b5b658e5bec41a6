"""A report as one HTML file: the template filled in, with the viewer's program inside, so that it works offline."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.colors import to_hex

from ..molecules.colours import energy_colours
from ..tables import Table
from .pictures import Picture
from .provenance import Row
from .statement import Statement
from .text import json_for_script

_FOLDER = Path(str(resources.files("openmm_confgf") / "report"))
_PALETTE = 16


@dataclasses.dataclass(frozen=True)
class Listed:
    """One molecule in the index of a library.

    Attributes
    ----------
    name, smiles : str
    thumbnail : str or None
        Its formula as the address of an image.
    conformations, bad : int
        All of them, and those that cannot be used.
    lowest, highest : float or None
        Energies in kJ/mol.
    verdict : str
        Whether its weights are to be trusted; empty where it has none.
    problem : str
        Why it failed; else empty.
    molecule : int or None
        Its place among the molecules that the viewer can show.
    """

    name: str
    smiles: str = ""
    thumbnail: str | None = None
    conformations: int = 0
    bad: int = 0
    lowest: float | None = None
    highest: float | None = None
    verdict: str = ""
    problem: str = ""
    molecule: int | None = None


@dataclasses.dataclass(frozen=True)
class Page:
    """What a report holds.

    Attributes
    ----------
    title : str
        A molecule's name, or a folder's.
    subtitle : str
        What kind of thing it is of, in a few words.
    statement : Statement
    provenance : sequence of (str, str)
    molecules : sequence of dict
        As `explorer.explored` gives them.
    index : sequence of Listed
        Of a library.
    pictures : sequence of Picture
    tables : sequence of (str, Table)
        Each under its title.
    notes : sequence of str
        Sentences on what was left out.
    """

    title: str
    subtitle: str
    statement: Statement
    provenance: Sequence[Row]
    molecules: Sequence[dict[str, Any]] = ()
    index: Sequence[Listed] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[tuple[str, Table]] = ()
    notes: Sequence[str] = ()

    def to_html(self) -> str:
        """The whole file. Every text is escaped; scripts other than those of this package are forbidden by the page itself."""
        scripts = [_part("third_party/3Dmol-min.js")] if self.molecules else []
        scripts.append(_part("templates/report.js"))
        palette = [to_hex(colour) for colour in energy_colours(np.linspace(0.0, 1.0, _PALETTE), 1.0)]
        return _template().render(
            page=self,
            scripts=scripts,
            hashes=[_hash(script) for script in scripts],
            style=_part("templates/report.css"),
            licence=_part("third_party/3Dmol-LICENSE.txt") if self.molecules else "",
            data=json_for_script({"molecules": self.molecules, "palette": palette}),
        )

    def to_bytes(self) -> bytes:
        """As `to_html`, in UTF-8; half a surrogate pair, which a name may hold and UTF-8 has no bytes for, becomes a question mark."""
        return self.to_html().encode("utf-8", "replace")


def _template() -> jinja2.Template:
    folder = jinja2.FileSystemLoader(_FOLDER / "templates")
    environment = jinja2.Environment(loader=folder, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.get_template("report.html")


def _part(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """As a Content-Security-Policy names a script that may run (W3C CSP level 3)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"

"""Texts from files, made fit for a page: none of them is markup, and none is longer than a page can bear."""

from __future__ import annotations

import json
from typing import Any

LONGEST = 160
"""Characters of a name that are shown."""

_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
"""What would end a script or begin a comment of HTML."""


def shortened(text: str, longest: int = LONGEST) -> str:
    """A text on one line, and with ``…`` in place of its end where it is too long.

    Parameters
    ----------
    text : str
    longest : int
        Characters.

    Examples
    --------
    >>> shortened("a name\\nof two lines"), shortened("C" * 9, 5)
    ('a name of two lines', 'CCCC…')
    """
    line = " ".join(text[: 4 * longest].split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def json_for_script(value: Any) -> str:
    """JSON that can stand between ``<script>`` and ``</script>``, whatever the texts in it are.

    Parameters
    ----------
    value : object
        Of JSON's types; numbers must be finite.

    Examples
    --------
    >>> print(json_for_script(["</script>", "<!--"]))
    ["\\u003c/script\\u003e","\\u003c!--"]
    """
    return json.dumps(value, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)

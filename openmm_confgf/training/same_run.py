"""Whether a folder that a run is taken up in holds that run and no other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfGFError
from ..writing import write_whole


def check_same_run(directory: Path, identity: Mapping[str, Any], begun: bool) -> None:
    """Make sure that a run that is resumed is this one, for its card will tell what this one is; remember it where none has begun.

    Parameters
    ----------
    directory : Path
        Its ``run.json`` holds the identity.
    identity : mapping of str to object
        What must not change between two parts of a run, by name, in JSON's types.
    begun : bool
        Whether the folder holds something of a run.

    Raises
    ------
    ConfGFError
        If it is another run, or ``run.json`` is damaged.
    """
    path = directory / "run.json"
    if begun and path.exists():
        try:
            earlier = dict(json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise ConfGFError(f"{path} is damaged; delete it to continue the run of {directory} whatever it was.") from error
        if other := [name for name, value in identity.items() if value != earlier.get(name)]:
            raise ConfGFError(
                f"{directory} holds a run with another {' and '.join(other)}; give another folder, or delete {path} to continue it anyway."
            )
        return
    write_whole(path, json.dumps(identity, indent=1))

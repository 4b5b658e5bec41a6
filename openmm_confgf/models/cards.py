"""The cards of weights: what is known of them, as JSON beside the tensors. Checked on reading, since anybody may have written one."""

from __future__ import annotations

import builtins
import dataclasses
import json
import sys
import types
import typing
from importlib import resources
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from ..errors import ConfGFError, WeightsError

LARGEST_SIZE = 1024
"""Of a network, so that a card cannot ask for more memory or time than there is."""


@dataclasses.dataclass(frozen=True)
class CardTarget:
    """The density ``exp(-U(x) / kT)`` that weights are to sample.

    Attributes
    ----------
    forcefield : str
        Where U comes from, as `Level` names it.
    temperature : float
        T in K.
    inputs : str or None
        The force field whose parameters the network reads where U is another's, as `create_system` names it.

    Raises
    ------
    ConfGFError
        If the force field has no name, or the temperature is no finite number above 0.
    """

    forcefield: str
    temperature: float
    inputs: str | None = None

    def __post_init__(self) -> None:
        for name in ("forcefield", "inputs"):
            value = getattr(self, name)
            if not (isinstance(value, str) and value.strip()) and not (name == "inputs" and value is None):
                raise ConfGFError(f"The {name} of a target is {value!r}; give a name.")
        number = isinstance(self.temperature, int | float) and not isinstance(self.temperature, bool)
        if not (number and 0 < self.temperature <= sys.float_info.max):
            raise ConfGFError(f"The temperature of a target is {self.temperature!r}; give a finite number of K above 0.")

    def __str__(self) -> str:
        return f"{self.forcefield} at {self.temperature:g} K"


@dataclasses.dataclass(frozen=True)
class Card:
    """What is known of weights; stored as JSON beside them.

    Attributes
    ----------
    name : str
    architecture : str
        A name of `models.registry.NETWORKS`.
    config : dict
        Sizes of the network.
    sha256 : str
        Checksum of the safetensors file.
    elements : list of int
        Atomic numbers that occur in the training data.
    min_atoms, max_atoms : int
        Atoms of the smallest and of the largest training molecule.
    trained_on : list of str
        `molecule_hash` of the constitution of every training molecule.
    data : list of dict
        The training files: name, sha256, molecules, conformers.
    training : dict
        Settings, seed, steps made and chosen, loss curve, time and device.
    parent : dict or None
        The weights that the training started from: name, sha256, data and their own parent.
    target : CardTarget or None
        What the weights are to sample; None where they make conformers.
    settings : dict
        How the network is to be run, where that is not the same for all weights: of a `TBGGenerator` the variant of its atom types and its
        unit of length.
    """

    name: str
    architecture: str
    config: dict[str, int]
    sha256: str
    elements: list[int]
    min_atoms: int
    max_atoms: int
    trained_on: list[str]
    data: list[dict[str, Any]]
    training: dict[str, Any]
    parent: dict[str, Any] | None = None
    target: CardTarget | None = None
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)

    def lineage(self) -> dict[str, Any]:
        """What the card of weights that started from these tells of them."""
        return {name: getattr(self, name) for name in ("name", "sha256", "data", "parent")}

    def to_json(self) -> str:
        """The text that `read_card` reads."""
        return json.dumps(dataclasses.asdict(self), indent=1)


def available_weights() -> list[Path]:
    """The cards of the weights that this package ships."""
    folder = Path(str(resources.files("openmm_confgf") / "weights"))
    return sorted(folder.glob("*.json"))


def read_card(path: Path) -> Card:
    """Read a card.

    Parameters
    ----------
    path : Path
        A ``.json`` file.

    Returns
    -------
    Card

    Raises
    ------
    WeightsError
        If it is missing or not a card.
    """
    try:
        content = dict(json.loads(path.read_text()))
        if (target := content.get("target")) is not None:
            if not isinstance(target, dict) or set(target) - {"inputs"} != {"forcefield", "temperature"}:
                raise ValueError("its target is not a forcefield and a temperature")
            content["target"] = CardTarget(**target)
        card = Card(**content)
        for name, hint in get_type_hints(Card).items():
            if not _is(getattr(card, name), hint):
                raise ValueError(f"its {name} is no {getattr(hint, '__name__', hint)}")
        if wrong := [f"{name} = {size}" for name, size in card.config.items() if not 1 <= size <= LARGEST_SIZE]:
            raise ValueError(f"its network has {', '.join(wrong)}, where sizes are from 1 to {LARGEST_SIZE}")
        return card
    except OSError as error:
        shipped = ", ".join(card.stem for card in available_weights()) or "none, since the package ships none"
        raise WeightsError(f"There is no card {path}; give the path of a .safetensors file with its card, or one of: {shipped}.") from error
    except (ValueError, TypeError, RecursionError, ConfGFError) as error:
        raise WeightsError(f"{path} is not a weights card ({str(error).rstrip('.')}); take the one that came with the weights.") from error


def _is(value: Any, hint: Any) -> bool:
    """Whether a value of a JSON file has the type of an annotation, through lists and dicts."""
    inner = get_args(hint)
    match get_origin(hint) or hint:
        case typing.Any:
            return True
        case types.UnionType:
            return any(_is(value, one) for one in inner)
        case builtins.list:
            return isinstance(value, list) and all(_is(entry, inner[0]) for entry in value)
        case builtins.dict:
            return isinstance(value, dict) and all(_is(entry, inner[1]) for entry in value.values() if inner)
        case builtins.int:
            return isinstance(value, int) and not isinstance(value, bool)
        case plain:
            return isinstance(value, plain)

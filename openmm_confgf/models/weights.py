"""Network weights on disk: safetensors beside a JSON card. Nothing here unpickles."""

from __future__ import annotations

import builtins
import dataclasses
import hashlib
import json
import types
import typing
from importlib import resources
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from ..errors import WeightsError
from ..writing import write_whole
from .confgf import ConfGF
from .field import FieldConfig, PairField


@dataclasses.dataclass(frozen=True)
class Card:
    """What is known of weights; stored as JSON beside them.

    Attributes
    ----------
    name : str
    architecture : str
        ``"PairField"`` or ``"ConfGF"``.
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


def available_weights() -> list[Path]:
    """The cards of the weights that this package ships."""
    folder = Path(str(resources.files("openmm_confgf") / "weights"))
    return sorted(folder.glob("*.json"))


def load_weights(weights: str | Path) -> tuple[nn.Module, Card]:
    """A network in evaluation mode on the CPU, and its card.

    Parameters
    ----------
    weights : str or Path
        The name of shipped weights (``"confgf"``), or the path of a ``.safetensors`` file that has its ``.json`` card beside it.

    Raises
    ------
    WeightsError
        If a file is missing, truncated or altered, or holds another network than its card says.
    """
    shipped = {card.stem: card for card in available_weights()}
    card_path = shipped.get(str(weights), Path(weights).with_suffix(".json"))
    card, tensor_path = read_card(card_path), card_path.with_suffix(".safetensors")
    try:
        content = tensor_path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"The weights {tensor_path} cannot be read ({error.strerror}); reinstall the package or give another file."
        ) from error
    if hashlib.sha256(content).hexdigest() != card.sha256:
        raise WeightsError(f"The weights {tensor_path} are truncated or altered: their sha256 is not the card's; fetch them again.")
    try:
        network = _build(card)
        network.load_state_dict(load(content))
    except (RuntimeError, TypeError, SafetensorError) as error:
        raise WeightsError(f"The weights {tensor_path} do not fit the network of their card: {str(error).splitlines()[0]}") from error
    return network.eval().requires_grad_(False), card


def save_weights(path: str | Path, network: nn.Module, card: Card) -> Card:
    """Write weights (float32) and their card, and return the card with the checksum filled in."""
    path = Path(path)
    content = save({name: tensor.detach().to("cpu", torch.float32).contiguous() for name, tensor in network.state_dict().items()})
    card = dataclasses.replace(card, sha256=hashlib.sha256(content).hexdigest())
    write_whole(path, content)
    write_whole(path.with_suffix(".json"), json.dumps(dataclasses.asdict(card), indent=1))
    return card


def read_card(path: Path) -> Card:
    """Read a card.

    Raises
    ------
    WeightsError
        If it is missing or not a card.
    """
    try:
        card = Card(**json.loads(path.read_text()))
        for name, hint in get_type_hints(Card).items():
            if not _is(getattr(card, name), hint):
                raise ValueError(f"its {name} is no {getattr(hint, '__name__', hint)}")
        if wrong := [f"{name} = {size}" for name, size in card.config.items() if not 1 <= size <= _LARGEST_SIZE]:
            raise ValueError(f"its network has {', '.join(wrong)}, where sizes are from 1 to {_LARGEST_SIZE}")
        return card
    except OSError as error:
        shipped = ", ".join(card.stem for card in available_weights()) or "none, since the package ships none"
        raise WeightsError(f"There is no card {path}; give the path of a .safetensors file with its card, or one of: {shipped}.") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise WeightsError(f"{path} is not a weights card ({error}); take the one that came with the weights.") from error


_LARGEST_SIZE = 1024
"""Of a network, so that a card cannot ask for more memory or time than there is."""


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


def _build(card: Card) -> nn.Module:
    if card.architecture == "PairField":
        return PairField(FieldConfig(**card.config))
    if card.architecture == "ConfGF":
        return ConfGF()
    raise WeightsError(f"The card of {card.name} names the unknown network {card.architecture!r}; update this package.")

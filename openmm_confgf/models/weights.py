"""Network weights on disk: safetensors beside a JSON card. Nothing here unpickles."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from ..errors import WeightsError
from ..writing import write_whole
from .cards import Card, available_weights, read_card
from .registry import build_network


def load_weights(weights: str | Path) -> tuple[nn.Module, Card]:
    """A network in evaluation mode on the CPU, and its card.

    Parameters
    ----------
    weights : str or Path
        The name of shipped weights (``"confgf"``), or the path of a ``.safetensors`` file that has its ``.json`` card beside it.

    Returns
    -------
    torch.nn.Module
        Of the class that the card names in `models.registry.NETWORKS`, in float32; its parameters ask for no gradient.
    Card

    Raises
    ------
    WeightsError
        If a file is missing, truncated or altered, or holds another network than its card says, or one that is unknown.
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
        network = build_network(card.architecture, card.config)
        network.load_state_dict(load(content))
    except (RuntimeError, TypeError, SafetensorError) as error:
        raise WeightsError(f"The weights {tensor_path} do not fit the network of their card: {str(error).splitlines()[0]}") from error
    return network.eval().requires_grad_(False), card


def save_weights(path: str | Path, network: nn.Module, card: Card) -> Card:
    """Write weights and their card.

    Parameters
    ----------
    path : str or Path
        The ``.safetensors`` file; the ``.json`` card goes beside it.
    network : torch.nn.Module
        Its tensors are written as float32.
    card : Card
        Whatever its sha256 is.

    Returns
    -------
    Card
        With the checksum of what was written.
    """
    path = Path(path)
    content = save({name: tensor.detach().to("cpu", torch.float32).contiguous() for name, tensor in network.state_dict().items()})
    card = dataclasses.replace(card, sha256=hashlib.sha256(content).hexdigest())
    write_whole(path, content)
    write_whole(path.with_suffix(".json"), card.to_json())
    return card

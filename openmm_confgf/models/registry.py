"""The networks that a card can name, and their sizes.

Nothing else decides by the name of a network. One from outside is `register_network`-ed before its weights are loaded or trained.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import nn

from ..errors import ConfGFError, WeightsError
from .autoregressive import AutoregressiveConfig, AutoregressiveDensity
from .confgf import ConfGF, ConfGFConfig
from .egnn import EGNN, EGNNConfig
from .energy_field import EnergyField, EnergyFieldConfig
from .field import FieldConfig, PairField


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A network and its sizes.

    Attributes
    ----------
    config : type
        A dataclass of int, all of which have defaults: the sizes of the network.
    network : type of torch.nn.Module
        Called with a `config`, which it keeps as its attribute ``config``.
    """

    config: type[Any]
    network: type[nn.Module]


NETWORKS: dict[str, Architecture] = {
    "PairField": Architecture(FieldConfig, PairField),
    "ConfGF": Architecture(ConfGFConfig, ConfGF),
    "AutoregressiveDensity": Architecture(AutoregressiveConfig, AutoregressiveDensity),
    "EGNN": Architecture(EGNNConfig, EGNN),
    "EnergyField": Architecture(EnergyFieldConfig, EnergyField),
}
"""Each network under the name that cards have for it."""


def register_network(name: str, architecture: Architecture) -> None:
    """Have cards name another network from now on, in this process.

    Parameters
    ----------
    name : str
    architecture : Architecture

    Raises
    ------
    ConfGFError
        If the name is that of another network, the network has another name, or the sizes are no dataclass of int with defaults.
    """
    for other, present in NETWORKS.items():
        if present != architecture if other == name else present.network is architecture.network:
            taken = f"{other!r} is {present.network.__name__}"
            raise ConfGFError(f"{name!r} cannot be registered, since {taken} already; give each network one name of its own.")
    try:
        sizes = dataclasses.asdict(architecture.config())
    except TypeError as error:
        raise ConfGFError(f"The sizes of {name!r} are no dataclass whose fields have defaults ({error}); make them one.") from error
    if others := [size for size, value in sizes.items() if type(value) is not int]:
        raise ConfGFError(f"The sizes {', '.join(others)} of {name!r} are no int, which is all that a card holds; make them int.")
    NETWORKS[name] = architecture


def build_network(architecture: str, sizes: Mapping[str, int] | None = None) -> nn.Module:
    """A network with random weights.

    Parameters
    ----------
    architecture : str
        One of `NETWORKS`.
    sizes : dict of str to int, optional
        As in a card; those that are left out have their defaults.

    Returns
    -------
    torch.nn.Module
        On the CPU, in training mode.

    Raises
    ------
    WeightsError
        If there is no such network.
    TypeError
        If it has no such size.
    """
    if architecture not in NETWORKS:
        raise WeightsError(
            f"The network {architecture!r} is unknown, only {', '.join(NETWORKS)} are here; update this package, or register the network "
            "with models.registry.register_network."
        )
    chosen = NETWORKS[architecture]
    return chosen.network(chosen.config(**(sizes or {})))


def describe_network(network: nn.Module) -> tuple[str, dict[str, int]]:
    """What a card says of a network.

    Parameters
    ----------
    network : torch.nn.Module

    Returns
    -------
    str
        Its name in `NETWORKS`.
    dict of str to int
        Its sizes.

    Raises
    ------
    WeightsError
        If it is not in `NETWORKS`.
    """
    for name, architecture in NETWORKS.items():
        if type(network) is architecture.network:
            config: Any = network.config
            return name, dataclasses.asdict(config)
    raise WeightsError(f"A {type(network).__name__} has no name that a card could hold; give it one with models.registry.register_network.")

"""A trained network beside its card: which molecules it may be asked for, and which it was trained on."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

from rdkit import Chem
from torch import nn

from ...checksums import molecule_hash
from ...errors import UnsupportedMoleculeError, WeightsError
from ...models.cards import Card
from ...models.weights import load_weights
from ...molecules.graph import MolecularGraph


@dataclasses.dataclass(frozen=True)
class LoadedNetwork:
    """What every generator with a network needs of its weights.

    Attributes
    ----------
    net : torch.nn.Module
    card : Card
    """

    net: nn.Module
    card: Card

    @classmethod
    def load(cls, weights: str | Path, architecture: type[nn.Module], generator: str) -> LoadedNetwork:
        """Weights for a generator that runs networks of one architecture.

        Parameters
        ----------
        weights : str or Path
            Name of shipped weights, or a ``.safetensors`` file with its card beside it.
        architecture : type
        generator : str
            What the generator is called in messages.

        Raises
        ------
        WeightsError
            If the weights cannot be used, or are those of another network.
        """
        net, card = load_weights(weights)
        if not isinstance(net, architecture):
            raise WeightsError(
                f"The weights {weights} are those of a {card.architecture}, and the generator {generator!r} runs a "
                f"{architecture.__name__}; use another --generator."
            )
        return cls(net, card)

    @functools.cached_property
    def _elements(self) -> frozenset[int]:
        return frozenset(self.card.elements)

    @functools.cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.card.trained_on)

    def trained_on(self, graph: MolecularGraph) -> bool:
        """Whether the molecule's constitution is in the card's training data.

        Parameters
        ----------
        graph : MolecularGraph
        """
        return molecule_hash(graph.constitution) in self._known

    def check_supported(self, graph: MolecularGraph) -> None:
        """Refuse what the weights never saw.

        Parameters
        ----------
        graph : MolecularGraph

        Raises
        ------
        UnsupportedMoleculeError
            If the molecule holds another element, or is smaller or larger than any that they saw.
        """
        card = self.card
        unseen = sorted(set(graph.numbers.tolist()) - self._elements)
        if unseen:
            symbols = ", ".join(Chem.GetPeriodicTable().GetElementSymbol(z) for z in unseen)
            raise UnsupportedMoleculeError(
                f"{graph.name!r} holds {symbols}, which the weights {card.name!r} never saw; use --generator etkdg."
            )
        if not card.min_atoms <= len(graph) <= card.max_atoms:
            bound = f"at least {card.min_atoms}" if len(graph) < card.min_atoms else f"at most {card.max_atoms}"
            raise UnsupportedMoleculeError(
                f"{graph.name!r} has {len(graph)} atoms, and the weights {card.name!r} saw {bound}; use --generator etkdg."
            )

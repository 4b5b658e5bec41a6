"""What an objective is: what a network learns, from which batches, and what of it is shown."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import numpy as np
from torch import Tensor, nn

from ...models.features import TensorRecord

if TYPE_CHECKING:
    from ..data import TrainingMolecule

NetworkT = TypeVar("NetworkT", bound=nn.Module)
BatchT = TypeVar("BatchT", bound=TensorRecord)

VALIDATION_LOSS = "val_loss"
"""What logs call the loss of a validation."""


@dataclasses.dataclass(frozen=True)
class Part:
    """A number that every validation gives beside the loss.

    Attributes
    ----------
    name : str
        What logs call it, ``"val_..."``; `rounds.fit` can monitor it.
    label : str
        What the picture calls it.
    graded : bool
        Whether it is one of a series, in their order; else it stands by itself.
    """

    name: str
    label: str
    graded: bool = True


class Objective(abc.ABC, Generic[NetworkT, BatchT]):
    """What a network learns. One from outside is registered by `objectives.registry.register_objective`.

    Attributes
    ----------
    architecture : str
        What it trains: a name of `models.registry.NETWORKS`.
    title : str
        What the loss is called over its curve.
    parts : tuple of Part
        What validation tells beside the loss, in the order of the picture.
    parts_title, parts_legend : str
        What the picture of the parts and their legend are called.
    weight_decay : float
        Of AdamW.
    draws : int
        Conformations of each molecule in a batch, by which its size is counted.
    """

    architecture: ClassVar[str]
    title: ClassVar[str]
    parts: ClassVar[tuple[Part, ...]] = ()
    parts_title: ClassVar[str] = ""
    parts_legend: ClassVar[str] = ""
    weight_decay: ClassVar[float] = 0.0
    draws: int

    @abc.abstractmethod
    def batch(self, molecules: Sequence[TrainingMolecule], rng: np.random.Generator) -> BatchT:
        """What the network is shown in one step; the same molecules and random numbers give the same batch.

        Parameters
        ----------
        molecules : sequence of TrainingMolecule
            M molecules.
        rng : numpy.random.Generator
            Seeded by the step alone. All that is random comes from it.

        Returns
        -------
        TensorRecord
            On the CPU.
        """

    @abc.abstractmethod
    def losses(self, network: NetworkT, batch: BatchT) -> Tensor:
        """Losses of a batch, whose mean is what training lowers.

        Parameters
        ----------
        network : torch.nn.Module
        batch : TensorRecord
            On the network's device.

        Returns
        -------
        Tensor
            Of any shape.
        """

    @abc.abstractmethod
    def members(self, batch: BatchT) -> int:
        """How much a batch counts: the loss of a round is the mean over its batches, weighted by it.

        Parameters
        ----------
        batch : TensorRecord

        Returns
        -------
        int
        """

    def part_values(self, losses: Tensor, batch: BatchT) -> Mapping[str, Tensor]:
        """Values whose mean over all of a validation is one of the `parts`.

        Parameters
        ----------
        losses : Tensor
            What `losses` gave for the batch.
        batch : TensorRecord

        Returns
        -------
        mapping of str to Tensor
            By the name of the part, any number of values of any shape; none where the batch has nothing to say.
        """
        return {}

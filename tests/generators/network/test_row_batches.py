"""Batches that a GPU's memory does not hold are run in halves, with the same result."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from openmm_confgf.errors import PlatformError
from openmm_confgf.generators.network.row_batches import SAMPLES_PER_ROW, Lanes, RowQueue, rows_of
from openmm_confgf.molecules.graph import MolecularGraph


@pytest.fixture(scope="module")
def owners():
    return [SimpleNamespace(graph=MolecularGraph.from_smiles(smiles)) for smiles in ("CCO", "C", "CCCO", "CO")]


def queue_of(owners, most):
    """Of three rows each, on a GPU that holds `most` rows: every coordinate of a sample is its number and its owner's."""
    sizes = []

    def run(rows, device):
        sizes.append(len(rows))
        if len(rows) > most:
            raise torch.OutOfMemoryError("a GPU's memory is full")
        found = np.zeros((len(rows), SAMPLES_PER_ROW, max(len(row.owner.graph) for row in rows), 3))
        for values, row in zip(found, rows, strict=True):
            values[: len(row.samples), : len(row.owner.graph)] = (row.samples + 100 * owners.index(row.owner))[:, None, None]
        return found

    queue = RowQueue(run, Lanes(torch.device("cuda"), False, [9]))
    for owner in owners:
        queue.rows += rows_of(owner, np.arange(9))
    return queue, sizes


def test_halves_give_what_the_whole_does(owners):
    whole, _ = queue_of(owners, 100)
    small, sizes = queue_of(owners, 2)
    whole.send()
    small.send()
    ((rows, expected),) = whole.results(0)
    with pytest.warns(UserWarning, match="memory of the GPU does not hold so many"):
        ((same, found),) = small.results(0)
    assert len(rows) == len(same) == 12 and found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)
    assert max(size for size in sizes if size <= 2) == 2 and sum(size for size in sizes if size <= 2) == 12


def test_a_molecule_that_is_too_large_by_itself_is_named(owners):
    queue, _ = queue_of(owners[:1], 0)
    queue.send()
    with pytest.warns(UserWarning), pytest.raises(PlatformError, match="memory of the GPU is too small for 'CCO'; give device='cpu'"):
        list(queue.results(0))

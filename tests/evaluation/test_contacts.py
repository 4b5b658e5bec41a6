import math

import numpy as np
import pytest

from openmm_confgf.errors import ConfGFError
from openmm_confgf.evaluation.contacts import contact_frequencies, weak_contact_jaccard

START = np.array([[0.0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [5.0, 0, 0]])
"""0, 1 and 2 are in contact, all three pairs; 3 with none."""


def apart(*residues):
    """The start, with these residues moved far off."""
    frame = START.copy()
    for k in residues:
        frame[k, 2] += 10.0 * (k + 1)
    return frame


def test_by_hand():
    # 0-1 and 1-2 break in half of ours, 0-2 and 1-2 in a fifth of the reference: one of three weak contacts is common
    ours = np.array([START, apart(1)])
    theirs = np.array([START] * 4 + [apart(2)])
    assert contact_frequencies(ours)[0].tolist() == [1.0, 0.5, 1.0, 0.0]
    assert weak_contact_jaccard(ours, theirs, START) == pytest.approx(1 / 3)
    assert weak_contact_jaccard(theirs, theirs, START) == 1
    assert weak_contact_jaccard(ours, theirs, START, weights=[1, 0]) == 0


def test_a_tenth_is_not_more_than_a_tenth():
    ten = np.array([START] * 9 + [apart(1)])
    assert math.isnan(weak_contact_jaccard(ten, ten, START))
    assert weak_contact_jaccard(ten, ten, START, broken=0.09) == 1


def test_contacts_that_the_start_lacks_do_not_count():
    near = START.copy()
    near[3] = [0.1, 0.1, 0.1]
    assert math.isnan(weak_contact_jaccard(np.array([near, START]), np.array([near, START]), START))


def test_bad_calls():
    with pytest.raises(ConfGFError, match="same residues"):
        weak_contact_jaccard(START[None], START[None, :3], START)
    with pytest.raises(ConfGFError, match="not finite"):
        weak_contact_jaccard(START[None] * math.nan, START[None], START)

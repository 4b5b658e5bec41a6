import html.parser

import numpy as np
import pytest

from openmm_confgf.ensemble import TITLE, Target
from openmm_confgf.generators import ETKDGGenerator
from openmm_confgf.molecules.graph import MolecularGraph

HOSTILE = (
    "<script>window.hit = 1</script>",
    "</script><img src=x onerror='window.hit = 1'>",
    "\"'`><svg onload=window.hit=1> &amp; ${window.hit = 1} {{ 7 * 7 }} <!--",
    "\u202e\u05d0\u05d1\u05d2 right to left \u2028 line",
    "x" * 10_000,
)


class Parsed(html.parser.HTMLParser):
    """The elements of a page with their attributes, and the text of each."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self._open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.texts.append("")
        if tag not in ("meta", "img", "input", "source"):
            self._open.append(len(self.elements) - 1)

    def handle_endtag(self, tag):
        assert self.elements[self._open.pop()][0] == tag

    def handle_data(self, data):
        for place in self._open[-1:]:
            self.texts[place] += data

    def all(self, tag):
        return [(attributes, text) for (name, attributes), text in zip(self.elements, self.texts, strict=True) if name == tag]


@pytest.fixture(scope="session")
def parsed():
    return Parsed


@pytest.fixture(scope="session")
def butanol():
    """Twelve conformations of butanol with energies from 0 to 11 kJ/mol in a mixed order; the second is NaN."""
    ensemble = ETKDGGenerator().sample(MolecularGraph.from_smiles("CCCCO", name="butanol"), 12, seed=1)
    positions = ensemble.positions.copy()
    positions[1] = np.nan
    return ensemble.replace(positions=positions, energy=np.random.default_rng(2).permutation(12).astype(float))


@pytest.fixture(scope="session")
def hostile():
    """Molecules with the names above, and the same as the titles of their conformations."""
    found = []
    for name in HOSTILE:
        ensemble = ETKDGGenerator().sample(MolecularGraph.from_smiles("CCO", name=name), 3, seed=1)
        titles = tuple({TITLE: f"{k} {name}"} for k in range(3))
        provenance = type(ensemble.provenance)(generator=name, version=name, settings={name: name})
        found.append(ensemble.replace(energy=np.arange(3.0), properties=titles, provenance=provenance))
    return found


@pytest.fixture(scope="session")
def dipeptide():
    """150 embedded conformations of alanine dipeptide with made-up energies and densities, which are worth all of them."""
    ensemble = ETKDGGenerator().sample(MolecularGraph.from_smiles("CC(=O)N[C@@H](C)C(=O)NC", name="dipeptide"), 150, seed=3)
    energy = np.random.default_rng(4).uniform(0.0, 2.0, 150)
    return ensemble.replace(energy=energy, log_q=-energy / 2.5, target=Target("made up", None, 300.0))

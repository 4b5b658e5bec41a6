"""A network that computes NaN: no sample of it is OK, and what is made without it says so."""

import math

import numpy as np
import pytest

from openmm_confgf.errors import ConfGFError
from openmm_confgf.generators import ConfGFGenerator, PublishedConfGFGenerator
from openmm_confgf.generators.boltzmann import BoltzmannGenerator
from openmm_confgf.models.confgf import NoiseLadder
from openmm_confgf.molecules.peptides import peptide
from openmm_confgf.reweighting import reweight


def broken(generator, network):
    for parameter in network.parameters():
        parameter.data.fill_(math.nan)
    return generator


def test_the_default_says_that_it_did_without(untrained_field):
    generator = ConfGFGenerator(untrained_field)
    ensemble = broken(generator, generator.net).sample("CC(O)CN", 4, seed=1)
    assert ensemble.diagnostics == {"repaired": 4, "ways": {"etkdg, without the network": 4}}


def test_from_noise_nothing_is_ok(untrained_confgf):
    generator = PublishedConfGFGenerator(untrained_confgf, NoiseLadder(levels=2, steps_per_level=2))
    ensemble = broken(generator, generator.net).sample("CCO", 4, seed=1)
    assert ensemble.counts() == {"NON_FINITE": 4}


def test_a_boltzmann_generator_gives_no_weight():
    generator = BoltzmannGenerator(weights="boltzmann-ala2")
    ensemble = broken(generator, generator.network).sample(peptide(["ACE", "ALA", "NME"]), 100, seed=1)
    assert ensemble.counts() == {"NON_FINITE": 100} and np.isneginf(ensemble.log_q).all() and np.isposinf(ensemble.energy).all()
    with pytest.raises(ConfGFError, match="weight"):
        reweight(ensemble)

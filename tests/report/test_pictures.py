import base64
import xml.etree.ElementTree as ET

import numpy as np

from openmm_confgf.report.pictures import ensemble_pictures, weight_pictures, without_outliers
from openmm_confgf.reweighting import reweight


def svg_of(address):
    head, _, content = address.partition(",")
    assert head == "data:image/svg+xml;base64"
    return ET.fromstring(base64.b64decode(content))


def test_pictures_of_conformers_are_svg_and_the_same_each_time(butanol):
    first, second = ensemble_pictures(butanol), ensemble_pictures(butanol)
    assert [one.title for one in first] == ["Energies", "Torsions, coloured by energy"] and first == second
    for one in first:
        assert svg_of(one.source).tag.endswith("svg") and one.alt.endswith(".")
    assert not ensemble_pictures(butanol.replace(energy=None)) and not ensemble_pictures(butanol[1])


def test_few_far_above_do_not_squeeze_the_picture(butanol):
    energy = butanol.energy.copy()
    energy[0] = 900.0
    many = butanol.select(np.repeat(np.arange(12), 5)).replace(energy=np.r_[np.repeat(energy, 5)[1:], 5000.0])
    near, far = without_outliers(many)
    assert far == int(many.ok[-1]) and near.energy.max() <= 900
    assert without_outliers(butanol)[1] == 0


def test_weights_profiles_and_what_is_left_out(peroxide_samples, monkeypatch):
    found = reweight(peroxide_samples)
    monkeypatch.setattr("openmm_confgf.report.pictures.torsions_to_show", lambda graph: {f"t{k}": np.array([2, 0, 1, 3]) for k in range(3)})
    monkeypatch.setattr("openmm_confgf.report.pictures.MOST_PROFILES", 2)
    pictures, notes = weight_pictures(found)
    assert [one.title for one in pictures] == ["Weights", "Who holds the weight", "Free energy along t0", "Free energy along t1"]
    assert "2 of 3 torsions" in notes[0]


def test_torsions_that_cannot_be_drawn_are_said(dipeptide):
    positions = np.zeros_like(dipeptide.positions)
    positions[:, :, 0] = 0.15 * np.arange(len(dipeptide.graph))  # all atoms in line
    pictures, notes = weight_pictures(reweight(dipeptide.replace(positions=positions)))
    assert [one.title for one in pictures] == ["Weights", "Who holds the weight"]
    assert notes[0].startswith("There is no profile along phi") and notes[-1].startswith("A Ramachandran plot is missing.")


def test_a_peptide_has_a_ramachandran_plot_with_its_error(dipeptide):
    titles = [one.title for one in weight_pictures(reweight(dipeptide))[0]]
    assert [title for title in titles if title.startswith("Ramachandran")] == [
        "Ramachandran, weighed",
        "Ramachandran, its standard error, blank where samples are too few",
        "Ramachandran, as drawn",
    ]

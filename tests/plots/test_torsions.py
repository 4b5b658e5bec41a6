import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from openmm_confgf.ensemble import Ensemble, Provenance, Target
from openmm_confgf.errors import ConfGFError
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.backbone import rama_pairs
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.peptides import peptide
from openmm_confgf.plots.ensemble import plot_ensemble
from openmm_confgf.plots.torsions import plot_profiles, plot_ramachandran, profile_curves, raw_profile, torsion_name, torsions_to_show
from openmm_confgf.plots.weights import plot_weights
from openmm_confgf.reweighting import reweight

TORSION = [2, 0, 1, 3]


@pytest.fixture(scope="module")
def found(peroxide_samples):
    return reweight(peroxide_samples)


@pytest.fixture(scope="module")
def dipeptide():
    """Capped alanine, 120 conformations with a made-up density and energy."""
    graph = peptide(["ACE", "ALA", "NME"])
    stream = np.random.default_rng(0)
    positions = np.resize(embed_etkdg(graph, 30, 1).positions, (120, len(graph), 3)) + 0.002 * stream.normal(size=(120, len(graph), 3))
    target = Target("made up", None, 300.0)
    return reweight(Ensemble(graph, positions, Provenance("x", "0"), energy=stream.normal(size=120), log_q=np.zeros(120), target=target))


def test_peptides_show_phi_and_psi_first_and_each_bond_once():
    graph = peptide(["ACE", "ALA", "NME"])
    shown = torsions_to_show(graph)
    assert [name.split()[0] for name in shown][:2] == ["phi", "psi"] and len(shown) == 4
    assert len({frozenset(map(int, row[1:3])) for row in shown.values()}) == 4
    assert list(torsions_to_show(MolecularGraph.from_smiles("CCCO"))) == ["C1-C2-C3-O4"]
    assert torsions_to_show(MolecularGraph.from_smiles("O")) == {}
    assert torsion_name(graph, shown[next(iter(shown))]) in next(iter(shown))


def test_curves_are_the_profiles_and_the_band_is_the_interval(found):
    axes = Figure().subplots()
    profile_curves(found, TORSION, axes, bins=12)
    drawn, weighed = axes.lines
    profile = found.profile(TORSION, 12)
    np.testing.assert_allclose(weighed.get_ydata(), np.where(np.isfinite(profile.free_energy), profile.free_energy, np.nan))
    np.testing.assert_allclose(weighed.get_xdata(), np.degrees(profile.centres))
    np.testing.assert_allclose(drawn.get_ydata(), raw_profile(found, TORSION, 12).free_energy)
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == pytest.approx(np.nanmin(profile.low))


def test_samples_without_positions_are_left_out_of_what_was_drawn(peroxide_samples):
    positions = peroxide_samples.positions.copy()
    positions[:5] = np.nan
    assert raw_profile(reweight(peroxide_samples.replace(positions=positions)), TORSION).probability.sum() == pytest.approx(1)


def pixels(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        return image.size, len(image.convert("RGB").getcolors(maxcolors=10**6))


def test_pictures_are_pngs_with_something_on_them(found, dipeptide, tmp_path):
    size, colours = pixels(plot_profiles(dipeptide, tmp_path / "torsions.png"))
    assert size[0] > 1500 and colours > 50
    size, colours = pixels(plot_profiles(found, tmp_path / "one.png", {"H-O-O-H": TORSION}))
    assert size[0] < 1000 and colours > 50
    ((phi, psi),) = rama_pairs(dipeptide.ensemble.graph)
    size, colours = pixels(plot_ramachandran(dipeptide, phi, psi, tmp_path / "ramachandran.png", bins=20))
    assert size[0] > 1000 and colours > 50


def test_a_molecule_without_rotatable_bonds_has_no_picture(found, tmp_path):
    with pytest.raises(ConfGFError, match="no rotatable bond to show; name a torsion"):
        plot_profiles(found, tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("name", ["$\\frac{$", "_{^", "a $1 and $2"])
def test_a_name_is_no_formula(dipeptide, tmp_path, name):
    mol = dipeptide.ensemble.graph.mol
    named = dipeptide.ensemble.replace(graph=MolecularGraph.from_rdkit(mol, name))
    found = reweight(named)
    phi, psi = rama_pairs(named.graph)[0]
    plot_profiles(found, tmp_path / "a.png", {"phi": phi})
    plot_ramachandran(found, phi, psi, tmp_path / "b.png", bins=4)
    plot_weights(found, tmp_path / "c.png")
    plot_ensemble(named, tmp_path / "d.png")
    assert len(list(tmp_path.iterdir())) == 4

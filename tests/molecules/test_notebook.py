import builtins

import pytest

from openmm_confgf.ensemble import Target
from openmm_confgf.errors import ConfGFError
from openmm_confgf.molecules.depiction import depiction_svg
from openmm_confgf.molecules.graph import MolecularGraph


def test_a_notebook_sees_what_it_is(alanine_ensemble):
    html = alanine_ensemble.replace(target=Target("openff-2.2.1", None, 300.0))._repr_html_()
    for text in ("alanine", "8: 6 OK, 2 NON_FINITE", "-6.5 to 5.0 kJ/mol", "openff-2.2.1 at 300 K", "etkdg, seed 4", "data:image/svg+xml"):
        assert text in html, text


def test_names_are_text_in_notebooks_and_not_endless(alanine_ensemble):
    name = "<script>alert(1)</script>" + "x" * 10_000
    graph = MolecularGraph.from_smiles("C[C@H](N)C(=O)O", name=name)
    html = alanine_ensemble.replace(graph=graph)._repr_html_()
    assert "<script" not in html and "&lt;script&gt;" in html and html.count("x") < 1000


def test_without_energies_and_usable_samples(alanine_ensemble):
    html = alanine_ensemble[2].replace(energy=None)._repr_html_()
    assert "kJ/mol" not in html and "1: 1 NON_FINITE" in html


def test_a_view_holds_the_usable_conformations_superposed(alanine_ensemble):
    pytest.importorskip("py3Dmol", reason="py3Dmol is not installed")
    view = alanine_ensemble.view(4)
    text = view.write_html()
    assert text.count("addModel(") == 4 and text.count('"colorscheme": "Jmol"') == 2
    assert alanine_ensemble.replace(energy=None).view().write_html().count("addModel(") == 6


def test_names_do_not_reach_the_script_of_a_view(alanine_ensemble):
    pytest.importorskip("py3Dmol", reason="py3Dmol is not installed")
    graph = MolecularGraph.from_smiles("C[C@H](N)C(=O)O", name="</script><script>alert(1)")
    assert "alert(1)" not in alanine_ensemble.replace(graph=graph).view().write_html()


def test_bad_calls_of_view(alanine_ensemble):
    with pytest.raises(ConfGFError, match="ask for at least 1"):
        alanine_ensemble.view(0)
    pytest.importorskip("py3Dmol", reason="py3Dmol is not installed")
    with pytest.raises(ConfGFError, match="no usable conformation of 'alanine'"):
        alanine_ensemble[2].view()


def test_a_missing_package_is_named(alanine_ensemble, monkeypatch):
    original = builtins.__import__

    def without(name, *arguments, **keywords):
        if name == "py3Dmol":
            raise ImportError("No module named 'py3Dmol'")
        return original(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfGFError, match="pip install py3Dmol"):
        alanine_ensemble.view()


def test_a_depiction_holds_no_name():
    graph = MolecularGraph.from_smiles("CCO", name="<script>")
    text = depiction_svg(graph, 80, 60)
    assert "script" not in text and "width='80px'" in text

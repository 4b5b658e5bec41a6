"""Reports in a real browser."""

import time

import numpy as np
import pytest

from openmm_confgf.generators import ETKDGGenerator
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.report import ensemble_page, library_page
from openmm_confgf.report.page import Page
from openmm_confgf.report.statement import Statement
from openmm_confgf.tables import Column, Table

from .chromium import EXECUTABLE, Browser
from .conftest import HOSTILE

pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason="there is no Chromium here")

PIXELS = """(() => {
  const from = document.querySelector('#viewer canvas'), to = document.createElement('canvas');
  to.width = from.width; to.height = from.height;
  const context = to.getContext('2d');
  context.drawImage(from, 0, 0);
  const all = context.getImageData(0, 0, to.width, to.height).data;
  let other = 0;
  for (let k = 0; k < all.length; k += 4) other += all[k + 3] > 0 && Math.min(all[k], all[k + 1], all[k + 2]) < 230;
  return [other / (all.length / 4), Array.from(all.filter((_, k) => k % 97 === 0)).reduce((sum, value, k) => (sum * 31 + value) % 1e9, 7)];
})()"""
"""Share of the viewer's pixels that are not white, and a number that changes with them."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def page(butanol, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "butanol.html"
    path.write_bytes(ensemble_page(butanol).to_bytes())
    return path


def shown(browser):
    return browser.run("document.querySelector('#shown').textContent")


def current(browser):
    return browser.run("document.querySelector('#conformations [aria-current] button').textContent")


def viewer_pixels(browser):
    # the picture is drawn with the next frame
    browser.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return browser.run(PIXELS)


@pytest.mark.parametrize("width", [1280, 400])
def test_it_opens_without_complaints_and_shows_a_molecule(browser, page, width):
    browser.open(page, width)
    assert browser.run("document.documentElement.dataset.ready") == "true" and not browser.complaints
    assert [url for url in browser.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    share, _ = viewer_pixels(browser)
    assert 0.01 < share < 0.9
    assert browser.run("document.documentElement.scrollWidth") <= width, "the page scrolls sideways"


def test_a_click_on_a_row_shows_its_conformation(browser, page):
    browser.open(page)
    before, (_, pixels) = shown(browser), viewer_pixels(browser)
    browser.click("#conformations tbody tr:nth-child(4) td")
    wanted = browser.run("document.querySelector('#conformations tbody tr:nth-child(4) button').textContent")
    assert current(browser) == wanted and shown(browser).startswith(f"Conformation {wanted},") and shown(browser) != before
    assert viewer_pixels(browser)[1] != pixels
    assert browser.run("document.querySelector('#plot circle.selected').getAttribute('aria-label')").startswith(f"Conformation {wanted},")


def test_enter_on_a_row_and_on_a_point_do_the_same(browser, page):
    browser.open(page)
    browser.run("document.querySelector('#conformations tbody tr:nth-child(6) button').focus()")
    browser.press("Enter")
    wanted = browser.run("document.querySelector('#conformations tbody tr:nth-child(6) button').textContent")
    assert current(browser) == wanted
    # the one furthest to the left, so that there is one at its right
    browser.run("[...document.querySelectorAll('#plot circle')].sort((a, b) => a.cx.baseVal.value - b.cx.baseVal.value)[0].focus()")
    browser.press("Enter")
    wanted = current(browser)
    browser.press("ArrowRight")
    name = browser.run("document.activeElement.getAttribute('aria-label')")
    browser.press("Enter")
    assert current(browser) != wanted and shown(browser)[:-1] in name


def test_a_click_on_a_point_selects_its_row(browser, page):
    browser.open(page)
    browser.click("#plot circle[data-row='8']")
    assert browser.run("document.querySelector('#conformations [aria-current]').dataset.row") == "8"


def test_buttons_step_turn_and_choose(browser, page):
    browser.open(page)
    rows = browser.run("[...document.querySelectorAll('#conformations tbody button')].map((one) => one.textContent)")
    browser.click("#next")
    assert current(browser) == rows[1]
    browser.click("#previous")
    browser.click("#previous")
    assert current(browser) == rows[-1]
    (_, before) = viewer_pixels(browser)
    browser.click("#right")
    assert viewer_pixels(browser)[1] != before
    for choice, value in (("overlay", "0"), ("colour", "number"), ("x-axis", "number"), ("y-axis", "torsion1")):
        browser.run(
            f"(() => {{ const list = document.querySelector('#{choice}'); list.value = '{value}'; "
            "list.dispatchEvent(new Event('change')); })()"
        )
    browser.run("(() => { const box = document.querySelector('#hydrogens'); box.click(); })()")
    assert viewer_pixels(browser)[0] > 0.002 and not browser.complaints
    assert "C2-C3-C4-O5" in browser.run("document.querySelector('#plot').textContent")


def test_few_far_away_are_drawn_on_the_edge_and_said(browser, butanol, tmp_path):
    many = butanol.select(np.arange(120) % 12)
    energy = np.arange(120.0)
    energy[60] = 1e6
    path = tmp_path / "far.html"
    path.write_bytes(ensemble_page(many.replace(energy=energy)).to_bytes())
    browser.open(path)
    assert "1 beyond the axes, drawn on their edge" in browser.run("document.querySelector('#plot').textContent")
    heights = browser.run("[...document.querySelectorAll('#plot circle')].map((one) => one.cy.baseVal.value).sort((a, b) => a - b)")
    assert heights[0] < 40 and heights[-1] - heights[1] > 150
    assert browser.run("document.querySelector('#high').textContent").endswith("and more")


def test_columns_sort_both_ways_and_say_so(browser, page, butanol):
    browser.open(page)
    numbers = "[...document.querySelectorAll('#conformations tbody button')].map((one) => Number(one.textContent))"
    first = "#conformations thead th:first-child"
    for state in ("ascending", "descending"):
        browser.click(f"{first} button")
        assert browser.run(f"document.querySelector('{first}').getAttribute('aria-sort')") == state
        assert browser.run(numbers) == sorted(browser.run(numbers), reverse=state == "descending")
    browser.click("#conformations thead th:nth-child(2) button")
    assert browser.run(f"document.querySelector('{first}').getAttribute('aria-sort')") == "none"
    order = np.argsort(butanol.energy)
    assert browser.run(numbers) == [int(k) + 1 for k in order if butanol.ok[k]]


def test_all_that_can_be_focused_has_a_name(browser, page):
    browser.open(page)
    tree = browser.call("Accessibility.getFullAXTree")["nodes"]
    clickable = [node for node in tree if node.get("role", {}).get("value") in ("button", "combobox", "checkbox", "searchbox", "link")]
    assert len(clickable) > 30 and all(node["name"]["value"].strip() for node in clickable)


def test_500_conformations_open_in_less_than_3_seconds(browser, tmp_path):
    ensemble = ETKDGGenerator().sample(MolecularGraph.from_smiles("CC(C)Cc1ccc(cc1)[C@H](C)C(=O)O", name="ibuprofen"), 20, seed=1)
    many = ensemble.select(np.arange(500) % 20).replace(energy=np.random.default_rng(1).uniform(0, 50, 500))
    path = tmp_path / "many.html"
    path.write_bytes(ensemble_page(many).to_bytes())
    seconds = min(browser.open(path) for _ in range(3))
    assert browser.run("document.querySelectorAll('#conformations tbody tr').length") == 500
    assert seconds < 3, f"{seconds:.2f} s"


@pytest.mark.parametrize("place", range(len(HOSTILE)))
def test_hostile_names_do_nothing(browser, hostile, tmp_path, place):
    path = tmp_path / "hostile.html"
    path.write_bytes(ensemble_page(hostile[place]).to_bytes())
    browser.open(path, 400)
    browser.click("#conformations tbody tr:nth-child(2) button")
    time.sleep(0.1)
    assert browser.run("window.hit") is None and not browser.complaints
    assert (
        browser.run("document.querySelectorAll('script').length") == 3
        and browser.run("document.querySelectorAll('main img[src=x]').length") == 0
    )
    title = browser.run("document.querySelector('h1').textContent")
    assert title == " ".join(HOSTILE[place].split()) or (title.endswith("…") and len(title) == 160)
    assert browser.run("document.documentElement.scrollWidth") <= 400 and shown(browser).startswith("Conformation 2,")


def test_a_library_is_searched_and_its_molecules_are_shown(browser, butanol, hostile, tmp_path):
    path = tmp_path / "library.html"
    path.write_bytes(library_page([butanol, *hostile], "library").to_bytes())
    browser.open(path)
    assert browser.run("document.querySelector('#molecule-name').textContent") == " of butanol" and not browser.complaints
    browser.click("#index tbody tr:nth-child(2) button")
    assert browser.run("document.querySelector('#molecule-name').textContent") == f" of {HOSTILE[0]}"
    assert browser.run("document.querySelectorAll('#conformations tbody tr').length") == 3 and viewer_pixels(browser)[0] > 0.01
    browser.run("(() => { const box = document.querySelector('#search'); box.value = 'BUTAN'; box.dispatchEvent(new Event('input')); })()")
    visible = "[...document.querySelectorAll('#index tbody tr')].filter((row) => row.offsetParent).length"
    assert browser.run(visible) == 1 and browser.run("document.querySelector('#found').textContent") == "1 of 6"
    browser.run("(() => { const box = document.querySelector('#search'); box.value = ''; box.dispatchEvent(new Event('input')); })()")
    browser.click("#index thead th:nth-child(3) button")
    assert browser.run("[...document.querySelectorAll('#index tbody tr')].at(-1).cells[2].textContent") == "12"
    assert browser.run("window.hit") is None and not browser.complaints


def test_tables_without_conformations_sort_unknown_values_last(browser, tmp_path):
    table = Table([Column("molecule", align="left"), Column("loss", layout="{:.1f}")], [["a", 10.0], ["b", None], ["c", 9.0]])
    path = tmp_path / "table.html"
    path.write_bytes(Page("t", "", Statement("plain", "h"), [], tables=[("T", table)]).to_bytes())
    browser.open(path)
    column = "[...document.querySelectorAll('tbody tr')].map((row) => row.cells[0].textContent.trim()).join('')"
    for wanted in ("cab", "acb"):
        browser.click("thead th:nth-child(2) button")
        assert browser.run(column) == wanted
    assert not browser.complaints


def test_without_webgl_the_table_still_works(browser, page):
    script = "HTMLCanvasElement.prototype.getContext = () => null;"
    number = browser.call("Page.addScriptToEvaluateOnNewDocument", source=script)["identifier"]
    try:
        browser.open(page)
        browser.click("#conformations tbody tr:nth-child(3) button")
        assert browser.run("document.documentElement.dataset.ready") == "true" and shown(browser).startswith("Conformation")
        assert "draws no WebGL" in browser.run("document.querySelector('#viewer').textContent")
    finally:
        browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=number)

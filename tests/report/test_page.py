import base64
import hashlib
import json
import re
from importlib import resources

import pytest

from openmm_confgf.report import ensemble_page, library_page
from openmm_confgf.report.page import Listed, Page
from openmm_confgf.report.statement import Statement
from openmm_confgf.report.text import json_for_script
from openmm_confgf.tables import Column, Table

from .conftest import HOSTILE

PUBLISHED = "f7cc78921ae72e7623e89cdd111434f58c2efddd2ffda1cd212644b406fb8016"


@pytest.fixture(scope="module")
def html(butanol):
    return ensemble_page(butanol).to_html()


def test_the_file_needs_nothing_else(html, parsed):
    page = parsed(html)
    assert page.all("meta")[0][0] == {"charset": "utf-8"}
    sources = [attributes.get(key, "") for _, attributes in page.elements for key in ("src", "href", "srcset", "action")]
    assert all(source.startswith("data:") for source in sources if source)
    assert not page.all("link") and not page.all("iframe") and "@import" not in html


def test_only_the_two_scripts_of_the_package_may_run(html, parsed):
    page = parsed(html)
    policy = next(one["content"] for one, _ in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy")
    data, *scripts = page.all("script")
    assert data[0] == {"type": "application/json", "id": "report-data"} and len(scripts) == 2
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for _, text in scripts]
    assert policy.startswith(f"default-src 'none'; script-src {' '.join(hashes)};") and "unsafe-eval" not in policy
    assert not any(key.startswith("on") for _, attributes in page.elements for key in attributes)


def test_what_can_be_clicked_is_a_button_with_a_name(html, parsed):
    page = parsed(html)
    for attributes, text in page.all("button"):
        assert attributes["type"] == "button" and (attributes.get("aria-label") or text.strip())
    for attributes, _ in page.all("img"):
        assert attributes["alt"]
    assert page.all("html")[0][0]["lang"] == "en" and page.all("title")[0][1] == "butanol"


def test_the_licence_of_the_viewer_comes_along(html):
    assert "University of Pittsburgh" in html and "Redistribution and use in source and binary forms" in html


def test_hostile_names_are_text(hostile, parsed):
    pages = [ensemble_page(one) for one in hostile] + [library_page(hostile, HOSTILE[0])]
    names = ("html", "head", "body", "main", "script", "meta", "title", "style", "img", "svg")
    for page in pages:
        seen = parsed(page.to_html())
        wanted = parsed(page.__class__(**{**page.__dict__, "title": "x"}).to_html())
        for name in names:
            assert len(seen.all(name)) == len(wanted.all(name)), name
        assert [one for one, _ in seen.all("svg")] == [one for one, _ in wanted.all("svg")] and len(seen.all("script")) == 3
        assert len(seen.all("title")[0][1]) <= 170
        data = json.loads(seen.all("script")[0][1])
        assert data["molecules"] and "window.hit" not in json.dumps([a for a, _ in seen.all("script")])


def test_titles_of_conformations_are_a_column(hostile):
    (shown,) = ensemble_page(hostile[0]).molecules
    titles = next(one for one in shown["columns"] if one["key"] == "title")
    assert titles["values"][1] == f"1 {HOSTILE[0]}" and titles["digits"] is None


@pytest.mark.parametrize("text", [*HOSTILE[:4], "]]>", "\x00\x0b", "\ud800"])
def test_json_in_a_script_cannot_end_it(text):
    written = json_for_script([text])
    assert json.loads(written) == [text] and not re.search("[<>&\u2028\u2029]", written)


def test_half_a_surrogate_pair_does_not_stop_the_writing():
    page = Page("\ud800 name", "", Statement("plain", "\udfff"), [("\ud800", "\ud800")])
    assert b"? name" in page.to_bytes()


def test_tables_are_sortable_and_escape_what_they_hold(parsed):
    table = Table([Column("molecule", align="left"), Column("loss", layout="{:.2f}")], [["<b>bold</b>", 1.0], ["b", None]])
    page = parsed(Page("t", "", Statement("good", "h"), [], tables=[("T", table)]).to_html())
    assert not page.all("b") and [one.get("aria-sort") for one, _ in page.all("th")] == ["none", "none"]
    assert [text for _, text in page.all("bdi")][-4:] == ["<b>bold</b>", "1.00", "b", "-"]


def test_failures_of_a_library_stand_in_its_index_with_their_reasons(butanol, parsed):
    rows = [Listed("molecule 2", problem="valence <of> N"), Listed("butanol", "CCCCO", conformations=3, molecule=None)]
    page = parsed(Page("t", "", Statement("plain", "h"), [], index=rows).to_html())
    cells = [text for attributes, text in page.all("td") if "failed" in (attributes.get("class") or "")]
    assert cells == ["failed: valence <of> N"]
    assert [one["id"] for one, _ in page.all("input")] == ["search"]


def test_the_same_report_is_the_same_file(butanol, html):
    assert ensemble_page(butanol).to_html() == html


def test_the_program_of_the_viewer_is_the_published_one_and_can_stand_in_a_script():
    folder = resources.files("openmm_confgf") / "report" / "third_party"
    program = (folder / "3Dmol-min.js").read_bytes()
    # of the npm package 3dmol 2.5.5
    assert hashlib.sha256(program).hexdigest() == PUBLISHED
    assert b"</script" not in program.lower() and b"<!--" not in program and b"\r" not in program
    assert "University of Pittsburgh" in (folder / "3Dmol-LICENSE.txt").read_text()

import pytest

FAST = ["--batch", 8, "--eager-only", "--repeats", 1]


def test_json_and_pictures(run, tmp_path):
    outcome = run("benchmark", "energies", "--system", "ala2-vacuum", *FAST, "--plot", tmp_path / "figures", "--json")
    assert outcome.code == 0 and outcome.err.count("wrote ") == 2
    assert list(outcome.json["systems"]) == ["ala2-vacuum"] and outcome.json["batch"] == 8
    assert sorted(p.name for p in (tmp_path / "figures").iterdir()) == ["energies-atoms.png", "energies-batch.png"]


def test_table_of_energies_alone(run):
    outcome = run("benchmark", "energies", "--system", "ala2-vacuum", *FAST, "--energies-only", "--threads", 2)
    assert outcome.code == 0 and "ala2-vacuum: alanine dipeptide in vacuum" in outcome.out and "| eager float64 | - | 2 |" in outcome.out


@pytest.mark.parametrize(
    "options",
    [
        ["--system", "benzene"],
        ["--batch", "0"],
        ["--threads", "0"],
        ["--repeats", "0"],
        ["--system", "ala2-vacuum", "--system", "ala2-vacuum"],
    ],
)
def test_bad_calls_give_one_line_and_exit_code_2(run, options):
    outcome = run("benchmark", "energies", *options)
    assert outcome.code == 2 and outcome.out == "" and outcome.err.startswith("error: ") and outcome.err.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_refused_first(run, tmp_path):
    (tmp_path / "file").write_text("")
    outcome = run("benchmark", "energies", "--plot", tmp_path / "file")
    assert outcome.code == 2 and outcome.err.startswith("error: ")


def test_help_shows_an_example(run):
    text = run("benchmark", "energies", "--help").out
    assert "\n    openmm-confgf benchmark energies" in text and "--json" in text and "--plot" in text

"""A folder that cannot be written to is refused in one line before any work."""

import pytest

from tests.cli.test_full_disk import calls, inputs  # noqa: F401


@pytest.mark.parametrize("command", ["generate", "score", "report", "seed", "simulate", "reference", "train"])
def test_a_read_only_folder_is_one_line(run, inputs, toy_level, read_only_disk, command):  # noqa: F811
    arguments, output = calls(inputs, toy_level)[command]
    for path in (read_only_disk / output, read_only_disk / "new" / output):
        outcome = run(*arguments, "-o", path)
        assert outcome.code == 2 and outcome.out == "" and outcome.err.count("\n") == 1
        assert outcome.err.startswith(f"error: {read_only_disk}") and "choose another folder" in outcome.err

import dataclasses
import json

import pytest

from openmm_confgf.cli.app import main


@dataclasses.dataclass
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self):
        """The one JSON object that --json promises."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)


@pytest.fixture
def run(capfd):
    """Run the command line in this process; stdout and stderr are caught below Python, where C++ writes."""

    def call(*arguments):
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Outcome(exit_.value.code or 0, captured.out, captured.err)

    return call

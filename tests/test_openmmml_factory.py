"""openmmml imports the entry point whenever it is imported: it costs nothing and cannot fail."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from openmm_confgf.openmmml_factory import ConfGFPotentialFactory

ROOT = Path(__file__).resolve().parents[1]

TIMED = """
import json, sys, time, typing  # which openmmml imports itself
sys.modules.update(dict.fromkeys({blocked!r}))
start = time.process_time()  # of this process alone: the machine may be busy
from openmm_confgf.openmmml_factory import ConfGFPotentialFactory
ConfGFPotentialFactory()
seconds = time.process_time() - start
heavy = sorted(set(sys.modules) & {{"torch", "openmm", "rdkit", "numpy", "torchmdnet", "openmmml"}} - set({blocked!r}))
print(json.dumps([seconds, heavy]))
"""


@pytest.mark.parametrize("blocked", [[], ["torch", "torchmdnet", "openmm", "rdkit", "numpy"]], ids=["as it is", "nothing else installed"])
def test_the_factory_costs_less_than_20_ms_and_needs_nothing(blocked):
    best = 1.0
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", TIMED.format(blocked=blocked)], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        seconds, heavy = json.loads(done.stdout)
        assert heavy == []
        best = min(best, seconds)
    assert best < 0.02


def test_arguments_that_the_potential_does_not_have_are_refused():
    pytest.importorskip("openmmml", reason="openmmml is not installed")
    with pytest.raises(TypeError, match="takes no modelPath; give molecule="):
        ConfGFPotentialFactory().createImpl("confgf-potential", modelPath="x")


def test_openmmml_finds_the_entry_point_and_works_without_torch(tmp_path):
    """As an installation declares it, in a folder of its own."""
    pytest.importorskip("openmmml", reason="openmmml is not installed")
    info = tmp_path / "stand_in-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stand-in\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[openmmml.potentials]\nconfgf-stand-in = openmm_confgf.openmmml_factory:ConfGFPotentialFactory\n"
    )
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.modules['torch'] = None\n"
        "from openmmml import MLPotential\nprint('confgf-stand-in' in MLPotential._implFactories, 'rdkit' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["True", "False"], done.stderr

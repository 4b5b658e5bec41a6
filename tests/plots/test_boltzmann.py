import json

import numpy as np
import pytest
from PIL import Image

from openmm_confgf.errors import FileFormatError
from openmm_confgf.plots.boltzmann import plot_boltzmann_training

LOOKED = {"ess": 0.2, "k_hat": 0.9, "mean_log_q": 40.0, "torus_distance": 0.1}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_four_panels_from_rounds_that_were_looked_at(tmp_path):
    rows = [{"round": k, "energies": float(k > 5)} | (LOOKED if k % 5 == 0 else {}) for k in range(1, 11)]
    rows[-1]["ess"] = None  # withheld
    path = plot_boltzmann_training(write(tmp_path / "log.jsonl", rows), tmp_path / "training.png")
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG" and image.size == (1560, 960) and np.asarray(image.convert("L")).std() > 5


def test_nothing_to_draw(tmp_path):
    with pytest.raises(FileFormatError, match="has no round that was looked at; train longer"):
        plot_boltzmann_training(write(tmp_path / "log.jsonl", [{"round": 1, "energies": 0.0}]), tmp_path / "out.png")
    with pytest.raises(FileFormatError, match="cannot be read as the log of a training"):
        plot_boltzmann_training(tmp_path / "missing.jsonl", tmp_path / "out.png")

import errno
import json
import os
import types

import pytest
import torch

from openmm_confgf.errors import ConfGFError, FileFormatError
from openmm_confgf.training.config import RunConfig
from openmm_confgf.training.rounds import FitResult, RoundLog, WholeCheckpoints, _saved, read_log


def test_log_forgets_rounds_whose_checkpoint_was_lost(tmp_path):
    seen = []
    log = RoundLog(tmp_path / "log.jsonl", seen.append)
    for step in (0, 10, 20):
        log.append(step, {"val_loss": torch.tensor(0.5)})
    with open(log.path, "a") as stream:
        stream.write('{"step": 30, "ti')  # killed while writing
    assert [row["step"] for row in read_log(log.path)] == [0, 10, 20]
    log.on_train_start(types.SimpleNamespace(global_step=10), None)
    log.append(20, {"loss": torch.tensor(0.123456)}, seconds=1.5)
    rows = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 10, 20] and rows[-1]["loss"] == 0.12346 and seen == 4 * [log.path]
    assert read_log(tmp_path / "none.jsonl") == []


def test_seconds_are_those_of_all_rounds_or_unknown():
    rows = [{"step": 0}, {"step": 10, "seconds": 1.25}, {"step": 20, "seconds": 2.0}]
    assert FitResult(20, 20, False, rows, "cpu").seconds == 3.2
    assert FitResult(20, 20, False, [*rows, {"step": 30}], "cpu").seconds is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"steps": 5, "round_steps": 2}, "multiple"), ({"patience": -1}, "patience is -1"), ({"learning_rate": 0.0}, "learning_rate is 0")],
)
def test_nonsense_settings_are_refused(settings, message):
    with pytest.raises(ConfGFError, match=message):
        RunConfig(**settings)


@pytest.mark.parametrize("damage", ["empty", "truncated", "garbage", "another"])
def test_a_damaged_checkpoint_says_what_to_delete(tmp_path, damage):
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": {"w": torch.zeros(1000)}, "callbacks": {}, "global_step": 4}, path)
    content = path.read_bytes()
    assert _saved(path)["global_step"] == 4
    if damage == "another":
        torch.save({"w": torch.zeros(1)}, path)
    else:
        path.write_bytes({"empty": b"", "truncated": content[: len(content) // 2], "garbage": b"garbage" * 100}[damage])
    with pytest.raises(ConfGFError, match=r"last.ckpt is damaged and the run cannot go on from it; delete it, and the same command begins"):
        _saved(path)


def test_checkpoints_are_whole_or_absent(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"step": 1}, path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
        with pytest.raises(FileFormatError, match="No space left on device, and the earlier file is as it was"):
            WholeCheckpoints().save_checkpoint({"step": 2}, path)
    assert torch.load(path, weights_only=True) == {"step": 1} and os.listdir(tmp_path) == ["last.ckpt"]

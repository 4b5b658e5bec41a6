import pytest

from openmm_confgf.errors import ConfGFError
from openmm_confgf.training.same_run import check_same_run


def test_a_run_is_taken_up_by_itself_alone(tmp_path):
    check_same_run(tmp_path, {"seed": 0, "data": {"a": 1}}, begun=True)
    check_same_run(tmp_path, {"seed": 0, "data": {"a": 1}}, begun=True)
    with pytest.raises(ConfGFError, match="holds a run with another seed and data; give another folder, or delete"):
        check_same_run(tmp_path, {"seed": 1, "data": {"a": 2}}, begun=True)
    check_same_run(tmp_path, {"seed": 1, "data": {}}, begun=False)  # nothing has begun: it is this one from now on
    check_same_run(tmp_path, {"seed": 1, "data": {}}, begun=True)


def test_a_damaged_identity_is_one_sentence(tmp_path):
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ConfGFError, match="run.json is damaged; delete it to continue the run of"):
        check_same_run(tmp_path, {"seed": 0}, begun=True)

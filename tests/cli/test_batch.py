import pytest

from openmm_confgf.cli.batch import Failure, attempt_each, run_batch
from openmm_confgf.errors import ForceFieldError, GenerationError, MoleculeError


def test_results_come_in_the_order_of_the_input():
    batch = run_batch("abc", iter([(2, "C"), (0, "A"), (1, "B")]), "test")
    assert list(batch.finished.items()) == [(0, "A"), (1, "B"), (2, "C")]
    assert batch.exit_code == 0 and batch.report() == {"failed": [], "interrupted": False}


def test_a_failure_costs_one_molecule(capsys):
    earlier = [Failure(3, "d", MoleculeError("radical"))]
    batch = run_batch("abcd", iter([(1, GenerationError("no")), (0, "A"), (2, "C")]), "test", earlier)
    assert list(batch.finished) == [0, 2] and batch.exit_code == 1
    assert batch.report()["failed"] == [{"index": 1, "name": "b", "error": "no"}, {"index": 3, "name": "d", "error": "radical"}]
    batch.explain()
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "failed: molecule 2 (b): no",
        "failed: molecule 4 (d): radical",
        "2 of 4 molecules finished, 2 failed",
    ]


def test_ctrl_c_keeps_what_is_finished(capsys):
    def stream():
        yield 1, "B"
        raise KeyboardInterrupt

    batch = run_batch("abc", stream(), "test")
    assert batch.finished == {1: "B"} and batch.interrupted and batch.exit_code == 130
    batch.explain()
    assert "1 of 3 molecules finished, 0 failed, 2 not begun or not finished" in capsys.readouterr().err


def test_a_single_molecule_raises_its_own_error():
    with pytest.raises(GenerationError, match="no"):
        run_batch("a", iter([(0, GenerationError("no"))]), "test")


def test_attempts_catch_errors_of_this_package_only():
    def work(index, item):
        if item == "bad":
            raise ForceFieldError("untyped")
        if item == "bug":
            raise ZeroDivisionError
        return index, item.upper()

    unreadable = MoleculeError("radical")
    first, second, third = attempt_each([(0, "a"), (3, "bad"), (1, unreadable)], work)
    assert first == (0, (0, "A")) and second[0] == 3 and str(second[1]) == "untyped" and third == (1, unreadable)
    with pytest.raises(ZeroDivisionError):
        list(attempt_each([(0, "bug")], work))

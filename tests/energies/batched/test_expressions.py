"""Lepton expressions: each function and each rule against OpenMM's own evaluation of values and derivatives."""

import numpy as np
import openmm
import pytest
import torch

from openmm_confgf.energies import BatchedEnergy, ContextEnergy
from openmm_confgf.energies.batched.expressions import FUNCTIONS, Expression
from openmm_confgf.errors import UnsupportedForceError


def of_coordinates(text, parameters=None, globals_=None):
    """A System of one atom whose energy is a function of x, y and z."""
    system, force = openmm.System(), openmm.CustomExternalForce(text)
    system.addParticle(1.0)
    for name in parameters or {}:
        force.addPerParticleParameter(name)
    for name, value in (globals_ or {}).items():
        force.addGlobalParameter(name, value)
    force.addParticle(0, list((parameters or {}).values()))
    system.addForce(force)
    return system


POINTS = np.random.default_rng(0).uniform([0.05, -2, -2], [0.95, 2, 2], size=(20, 1, 3))
"""x between 0 and 1, where each function is defined; y and z of either sign."""


def same_as_openmm(system, points=POINTS):
    with ContextEnergy(system, "Reference") as context:
        theirs = context.evaluate(points, forces=True)
    ours = BatchedEnergy(system, device="cpu").evaluate(points, forces=True)
    assert ours.status.tolist() == theirs.status.tolist()
    ok = theirs.ok
    np.testing.assert_allclose(ours.energy[ok], theirs.energy[ok], rtol=1e-12, atol=1e-10)
    np.testing.assert_allclose(ours.forces[ok], theirs.forces[ok], rtol=1e-6, atol=1e-6)
    return theirs


WITH_ARGUMENTS = {1: "(x)", 2: "(x, y)", 3: "(y, x, z)"}
ANY_SIGN = ("exp", "sin", "cos", "atan", "sinh", "cosh", "tanh", "erf", "erfc", "step", "delta", "square", "cube", "abs", "floor", "ceil")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    assert same_as_openmm(of_coordinates(f"3*{name}{WITH_ARGUMENTS[FUNCTIONS[name][0]]} + x*y")).ok.all()
    if name in ANY_SIGN:
        assert same_as_openmm(of_coordinates(f"{name}(y) + z*{name}(2*z - x)")).ok.all()


def test_every_function_of_the_user_guide_is_there():
    guide = "sqrt exp log sin cos sec csc tan cot asin acos atan atan2 sinh cosh tanh erf erfc min max abs floor ceil step delta select"
    assert set(guide.split()) <= set(FUNCTIONS)


RULES = [
    "-x^2",
    "2^-x",
    "-x^-y",
    "x^y^z",
    "(x^y)^z",
    "-x*y",
    "x-y-z",
    "x-(y-z)",
    "x/y/z",
    "x/y*z",
    "x/(y*z)",
    "x*-y",
    "x--y",
    "x-y*z^2",
    "-(x+y)^2",
    "2^3^x",
    "-2^2*x",
    "(-2)^2*x",
    "y^0*x",
    "y^1",
    "y^2",
    "y^3",
    "y^7",
    "y^-1",
    "y^-2",
    "y^-3",
    "y^(1+1)",
    "y^(6/2)",
    "(y-3)^5",
    "x^0.5",
    "x^-0.5",
    "x^1.5",
    "x^100",
    "x^y",
    "1.5e-1*x + 2.E+1*y + .25*z + 3.*x",
    "  x +\ty ",
    "x +\n y",
    "\n    select(x - 0.5,\n        y,\n        z)\n",
    "01*x",
    "5",
    "0*x + 7",
    "x*y*z",
    # definitions: the first of a name is the one in force, and each sees those after it
    "a*b; a = x + b; b = y*z;",
    "a; a = a + y; a = x*z",
    "a + b; b = 2*a; a = y; a = x",
    "a; a = b + x; b = 2; a = 7",
    "x; x = y*z",
    "r2^2; r2 = x^2 + y^2; unused = 1",
    "exp(-a); a=b^2;\n b=x-y;",
    "sin(x)*sin(x) + sin(x)",
    "sqrt(square(y) + 1)",
    "min(max(x, y), z)",
    "atan2(y, z) + atan2(-y, x)",
    "select(step(x - 0.5), select(step(y), x, y), select(step(z), z, x))",
    "step(y)*x + (1 - step(y))*z",
    "delta(floor(y))*x",
]


@pytest.mark.parametrize("text", RULES)
def test_rules(text):
    assert same_as_openmm(of_coordinates(text)).ok.any()


@pytest.mark.parametrize("name", ["lambda", "if", "class", "None", "and", "is", "k_1", "_k", "v_x", "pi", "e", "sqrt", "r", "E"])
def test_names_of_parameters(name):
    """Python's keywords and constants, and functions, are names like any other."""
    text = f"{name}*x + sqrt({name} + y^2) - {name}^2*z"
    theirs = same_as_openmm(of_coordinates(text, parameters={name: 1.75}))
    np.testing.assert_array_equal(same_as_openmm(of_coordinates(text, globals_={name: 1.75})).energy, theirs.energy)
    np.testing.assert_array_equal(same_as_openmm(of_coordinates(f"{text}; {name} = 1.75")).energy, theirs.energy)


def test_powers_of_parameters():
    parameters = {"n": 3.0, "m": -2.0, "h": 0.5, "zero": 0.0, "b": -1.5}
    same_as_openmm(of_coordinates("y^n + z^m + x^h + y^zero + b^n*x + 2^b*y + (y*b)^n", parameters))
    same_as_openmm(of_coordinates("y^n + z^m + x^h + y^zero + b^n*x + 2^b*y + (y*b)^n", globals_=parameters))


GUARDED = [
    "select(step(y), sqrt(y), z)",
    "select(step(y), z*x, sqrt(-y))",
    "select(step(y), log(y), x^2)",
    "select(step(y), y^0.5, 3*y)",
    "select(step(y), root, x); root = sqrt(y)",
    "select(step(y), root*x, root2*x); root = sqrt(y); root2 = sqrt(-y)",
    "select(step(y), select(step(z), sqrt(y*z), log(y)), select(step(z), log(z), x))",
    "2 + x*select(step(1 - y^2), acos(y), asin(1/y)) + y",
    "select(step(y), sqrt(y), k) + select(step(y), k, sqrt(-y))",
]


@pytest.mark.parametrize("text", GUARDED)
def test_branches_that_are_not_taken_leave_no_trace(text):
    """They are NaN here, and so would be the gradient of the branch that is taken."""
    assert same_as_openmm(of_coordinates(text, parameters={"k": 2.0})).ok.all()


def test_second_derivatives_pass_by_branches_that_are_not_taken():
    program = Expression("select(step(y), sqrt(y)*x, x^2*y)").bind({})
    x, y = (
        torch.tensor([0.3, 0.4], dtype=torch.float64, requires_grad=True),
        torch.tensor([0.25, -0.25], dtype=torch.float64, requires_grad=True),
    )
    (first,) = torch.autograd.grad(program({"x": x, "y": y}).sum(), y, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), y)
    np.testing.assert_allclose(second.numpy(), [-0.25 * 0.3 * 0.25**-1.5, 0.0], atol=1e-12)


def test_bonds_evaluate_expressions_of_their_length():
    """One variable, with a column of parameters for each of many bonds."""
    system, force = openmm.System(), openmm.CustomBondForce("scale*lambda*(r - b)^2*(1 + cube(r)); scale = 0.5")
    force.addPerBondParameter("lambda")
    force.addPerBondParameter("b")
    for k in range(5):
        system.addParticle(1.0)
        if k:
            force.addBond(0, k, [k, 0.1 * k])
    system.addForce(force)
    assert same_as_openmm(system, np.random.default_rng(1).normal(size=(10, 5, 3))).ok.all()


UNREADABLE = [
    "x +",
    "(x",
    "x)",
    "2x",
    "x y",
    "x, y",
    "x[0]",
    "x.y",
    "x = 3",
    "x == 3",
    "x < 3",
    "x and y",
    "x if y else z",
    "'x'",
    "x; a",
    "x; a =",
    "x; = 2",
    "lambda q: q",
    "[x]",
    "",
    ";",
    "x ** 2",
    "x // 2",
    "x % 2",
    "x # y",
    "~x",
    "not x",
    "x @ y",
    "$x",
]


@pytest.mark.parametrize("text", UNREADABLE)
def test_unreadable_text_is_refused(text):
    with pytest.raises(UnsupportedForceError, match="ContextEnergy"):
        BatchedEnergy(of_coordinates(text), device="cpu")


@pytest.mark.parametrize(
    "text",
    ["foo(x)", "sqrt(x, y)", "min(x)", "select(x, y)", "Sqrt(x)", "__import__(x)", "x(2)", "sqrt()"],
)
def test_unknown_functions_are_refused_by_name(text):
    name = text.partition("(")[0]
    with pytest.raises(UnsupportedForceError, match=name):
        BatchedEnergy(of_coordinates(text), device="cpu")


@pytest.mark.parametrize("text", ["x*q", "a + x; b = 2", "pi*x", "a*x; a = a", "a*x; b = a; a = b"])
def test_unknown_names_are_refused(text):
    with pytest.raises(UnsupportedForceError, match="CustomExternalForce"):
        BatchedEnergy(of_coordinates(text), device="cpu")


def test_constants_are_worked_out_once():
    assert Expression("2^3 + sqrt(16)*k").bind({"k": 0.5}).constant == 10.0
    program = Expression("x*(2 + k)^2").bind({"k": 1.0})
    assert program.constant is None and program.variables == {"x"}
    column = Expression("k^2").bind({"k": torch.tensor([[1.0], [3.0]])}).constant
    assert column.tolist() == [[1.0], [9.0]]


def test_the_dtype_is_that_of_the_variables():
    program = Expression("sqrt(x) + 1/3 + max(x, 0.1) + k").bind({"k": torch.ones(2, 1, dtype=torch.float64)})
    for dtype in (torch.float32, torch.float64):
        assert program.to(dtype)({"x": torch.full((2, 3), 0.5, dtype=dtype)}).dtype == dtype

"""OpenMM's algebraic expressions (Lepton) as programs of torch operations: parsed once, folded where they are constant, differentiable."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from ...errors import UnsupportedForceError

Value = Tensor | float
_Branches = tuple[tuple[Callable[..., Tensor], int], ...]

_TOKEN = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[A-Za-z_]\w*")
_FOREIGN = re.compile(r"\*\*|//|[^\w\s.+\-*/^(),]")
"""What Python would read and Lepton does not."""


def _step(x: Tensor) -> Tensor:
    return (x >= 0).to(x.dtype)


def _select(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return torch.where(condition != 0, x, y)


def _where_taken(x: Tensor, condition: Tensor) -> Tensor:
    """`x`, without its gradient where ``select`` takes the other branch: there it may be NaN, and NaN times zero is NaN."""
    return torch.where(condition != 0, x, x.detach())


def _where_not_taken(x: Tensor, condition: Tensor) -> Tensor:
    """As `_where_taken`, for the second branch."""
    return torch.where(condition == 0, x, x.detach())


FUNCTIONS: dict[str, tuple[int, Callable[..., Tensor]]] = {
    "sqrt": (1, torch.sqrt),
    "exp": (1, torch.exp),
    "log": (1, torch.log),
    "sin": (1, torch.sin),
    "cos": (1, torch.cos),
    "sec": (1, lambda x: 1 / torch.cos(x)),
    "csc": (1, lambda x: 1 / torch.sin(x)),
    "tan": (1, torch.tan),
    "cot": (1, lambda x: 1 / torch.tan(x)),
    "asin": (1, torch.asin),
    "acos": (1, torch.acos),
    "atan": (1, torch.atan),
    "atan2": (2, torch.atan2),
    "sinh": (1, torch.sinh),
    "cosh": (1, torch.cosh),
    "tanh": (1, torch.tanh),
    "erf": (1, torch.erf),
    "erfc": (1, torch.erfc),
    "step": (1, _step),
    "delta": (1, lambda x: (x == 0).to(x.dtype)),
    "square": (1, lambda x: x * x),
    "cube": (1, lambda x: x * x * x),
    "recip": (1, lambda x: 1 / x),
    "min": (2, torch.minimum),
    "max": (2, torch.maximum),
    "abs": (1, torch.abs),
    "floor": (1, torch.floor),
    "ceil": (1, torch.ceil),
    "select": (3, _select),
}
"""Lepton's functions (OpenMM User Guide, "Writing Custom Expressions"): how many arguments, and what computes them."""

_OPERATORS: dict[type, Callable[..., Value]] = {
    ast.Add: lambda x, y: x + y,
    ast.Sub: lambda x, y: x - y,
    ast.Mult: lambda x, y: x * y,
    ast.Div: lambda x, y: x / y,
}


@dataclasses.dataclass(frozen=True)
class Step:
    """One operation on the values of earlier steps.

    Attributes
    ----------
    function : callable, str or float
        A leaf has a variable's name or a number instead of a function.
    operands : tuple of int
        The numbers of the steps whose values it takes.
    """

    function: Callable[..., Value] | str | float
    operands: tuple[int, ...] = ()


class Expression:
    """A parsed expression.

    Parameters
    ----------
    text : str
        As OpenMM takes it, definitions after semicolons included.
    tables : mapping, optional
        Tabulated functions by name: modules that are called with one tensor for each argument.

    Attributes
    ----------
    variables : frozenset of str
        What it is a function of.

    Raises
    ------
    UnsupportedForceError
        If it cannot be read, or holds a function that is not known.
    """

    def __init__(self, text: str, tables: Mapping[str, nn.Module] | None = None) -> None:
        self.text = text
        self._tables = dict(tables or {})
        main, *definitions = text.split(";")
        self._definitions = [_definition(one, text) for one in definitions if one.strip()]
        self.steps: list[Step] = []
        self._known: dict[Step, int] = {}
        self.result = self._build(_syntax_tree(main, text), 0, ())
        self.variables = frozenset(step.function for step in self.steps if isinstance(step.function, str))

    def bind(self, constants: Mapping[str, Value]) -> Program:
        """The program that remains once some variables have values.

        Parameters
        ----------
        constants : mapping of str to Tensor or float
            Names that are no variables of it are ignored. Tensors, (T, 1) for parameters of interactions, broadcast with the others.

        Returns
        -------
        Program
        """
        return Program(self, constants)

    def _add(self, function: Callable[..., Value] | str | float, *operands: int) -> int:
        step = Step(function, operands)
        if step not in self._known:
            self._known[step] = len(self.steps)
            self.steps.append(step)
        return self._known[step]

    def _build(self, node: ast.expr, scope: int, branches: _Branches) -> int:
        """Add the steps of a node and give the last one's number; the first `scope` definitions are out of reach."""

        def build(child: ast.expr) -> int:
            return self._build(child, scope, branches)

        match node:
            case ast.Constant(value=int() | float() as number):
                return self._add(float(number))
            case ast.Name(id=name):
                return self._name(name.removeprefix("v_"), scope, branches)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._add(torch.neg, build(operand))
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return build(operand)
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                return self._power(build(left), build(right))
            case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
                return self._add(_OPERATORS[type(operator)], build(left), build(right))
            case ast.Call(func=ast.Name(id=name), args=arguments):
                return self._call(name.removeprefix("v_"), arguments, scope, branches)
        raise UnsupportedForceError(f"The expression {self.text!r} cannot be read; use ContextEnergy for this System.")

    def _name(self, name: str, scope: int, branches: _Branches) -> int:
        for k in range(scope, len(self._definitions)):
            if self._definitions[k][0] == name:
                return self._build(self._definitions[k][1], k + 1, branches)
        value = self._add(name)
        for guard, condition in branches:
            value = self._add(guard, value, condition)
        return value

    def _call(self, name: str, arguments: Sequence[ast.expr], scope: int, branches: _Branches) -> int:
        if name == "select" and len(arguments) == 3:
            condition = self._build(arguments[0], scope, branches)
            x = self._build(arguments[1], scope, (*branches, (_where_taken, condition)))
            y = self._build(arguments[2], scope, (*branches, (_where_not_taken, condition)))
            return self._add(_select, condition, x, y)
        operands = [self._build(argument, scope, branches) for argument in arguments]
        if name in self._tables:
            return self._add(self._tables[name], *operands)
        if name not in FUNCTIONS or FUNCTIONS[name][0] != len(operands):
            raise UnsupportedForceError(
                f"The function {name} with {len(operands)} arguments in {self.text!r} is not known; use ContextEnergy for this System."
            )
        return self._add(FUNCTIONS[name][1], *operands)

    def _power(self, base: int, exponent: int) -> int:
        """Products for whole exponents: exact at negative bases, and far cheaper than the general power."""
        power = self.steps[exponent].function
        if self.steps[exponent].function is torch.neg:
            inverse = self._power(base, self.steps[exponent].operands[0])
            return self._add(_OPERATORS[ast.Div], self._add(1.0), inverse)
        if not isinstance(power, float) or not 0 < power <= 64 or power != int(power):
            return self._add(torch.pow, base, exponent)
        product, square, left = -1, base, int(power)
        while left:
            if left % 2:
                product = square if product < 0 else self._add(_OPERATORS[ast.Mult], product, square)
            left //= 2
            if left:
                square = self._add(_OPERATORS[ast.Mult], square, square)
        return product


class Program(nn.Module):
    """An expression whose constants have been worked out.

    Parameters
    ----------
    expression : Expression
    constants : mapping of str to Tensor or float
        Values of some of its variables; tensors that broadcast with those of the others.
    """

    def __init__(self, expression: Expression, constants: Mapping[str, Value]) -> None:
        super().__init__()
        self.variables = expression.variables - set(constants)
        values: dict[int, Value] = {}
        for k, step in enumerate(expression.steps):
            if isinstance(step.function, float):
                values[k] = step.function
            elif isinstance(step.function, str):
                if step.function in constants:
                    values[k] = constants[step.function]
            elif all(operand in values for operand in step.operands):
                values[k] = _apply(step.function, [values[operand] for operand in step.operands], torch.float64)
        self._result = expression.result
        self._steps = _needed(expression, values)
        self._tables = nn.ModuleList(step.function for _, step in self._steps if isinstance(step.function, nn.Module))
        used = {self._result, *(operand for _, step in self._steps for operand in step.operands)}
        self._numbers = {k: values[k] for k in used if isinstance(values.get(k), float)}
        self._kept = {k: f"constant_{k}" for k in used if isinstance(values.get(k), Tensor)}
        for k, name in self._kept.items():
            self.register_buffer(name, torch.as_tensor(values[k]))

    @property
    def constant(self) -> Value | None:
        """The value, where it depends on no variable any more."""
        return None if self._steps else self._numbers.get(self._result, getattr(self, self._kept.get(self._result, ""), None))

    def forward(self, variables: Mapping[str, Tensor]) -> Tensor:
        """The value of the expression.

        Parameters
        ----------
        variables : mapping of str to Tensor, (...)
            Values of all `variables`, at least one, of shapes that broadcast and of one type, in md units.

        Returns
        -------
        Tensor, (...)
        """
        like = next(iter(variables.values()))
        values: dict[int, Value] = {**self._numbers, **{k: getattr(self, name) for k, name in self._kept.items()}}
        for k, step in self._steps:
            if isinstance(step.function, str):
                values[k] = variables[step.function]
            else:
                values[k] = _apply(step.function, [values[operand] for operand in step.operands], like.dtype)  # type: ignore[arg-type]  # numbers are in values already
        result = values[self._result]
        return result if isinstance(result, Tensor) else torch.full_like(like, result)


def _needed(expression: Expression, known: Mapping[int, Value]) -> list[tuple[int, Step]]:
    """The steps that the result depends on and whose values are not known yet, in their order."""
    wanted, needed = [expression.result], set()
    while wanted:
        k = wanted.pop()
        if k not in known and k not in needed:
            needed.add(k)
            wanted.extend(expression.steps[k].operands)
    return [(k, expression.steps[k]) for k in sorted(needed)]


def _apply(function: Callable[..., Value], operands: Sequence[Value], dtype: torch.dtype) -> Value:
    """Call a function; arithmetic takes floats beside tensors, everything else takes tensors."""
    if any(isinstance(x, Tensor) for x in operands) and function in _OPERATORS.values():
        return function(*operands)
    device = next((x.device for x in operands if isinstance(x, Tensor)), None)
    result = function(*(x if isinstance(x, Tensor) else torch.tensor(x, dtype=dtype, device=device) for x in operands))
    return float(result) if not any(isinstance(x, Tensor) for x in operands) else result


def _definition(text: str, whole: str) -> tuple[str, ast.expr]:
    """The name and the syntax tree of ``name = expression``."""
    name, _, body = text.partition("=")
    return name.strip(), _syntax_tree(body if name.strip().isidentifier() else "", whole)


def _syntax_tree(text: str, whole: str) -> ast.expr:
    """Lepton's syntax is Python's, with ^ for powers, any leading zeros, and names that may be Python's keywords."""
    python = _TOKEN.sub(lambda token: f"v_{token[0]}" if token[0][0].isalpha() or token[0][0] == "_" else repr(float(token[0])), text)
    try:
        if not text.strip() or _FOREIGN.search(text):
            raise SyntaxError
        return ast.parse(f"({python.replace('^', '**')})", mode="eval").body
    except SyntaxError as error:
        raise UnsupportedForceError(f"The expression {whole!r} cannot be read; use ContextEnergy for this System.") from error

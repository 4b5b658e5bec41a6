"""Commands that are one job by nature: on a cluster one worker does the whole of it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import inspect
import io
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from .options import workers_of

_Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        help="Let a worker of Dask do it: local, the address of a scheduler, or a YAML file of a job for SLURM, PBS, SGE or LSF.",
        metavar="WHERE",
        show_default=False,
    ),
]


@dataclasses.dataclass(frozen=True)
class _Told:
    """What a command wrote to stdout and stderr, and its exit code."""

    out: str
    err: str
    code: int


def one_job(command: Callable[..., None]) -> Callable[..., None]:
    """A command that takes ``--cluster`` besides: one worker does it then, with its own device, and what it tells is told here at the end.

    The worker works in the folder of the program, as it does for libraries. One that is gone is replaced once, and what a run has kept
    by then is gone on from.

    Parameters
    ----------
    command : callable
        At the top of a module; its options can be pickled.
    """

    @functools.wraps(command)
    def anywhere(*, cluster: str | None = None, **options: Any) -> None:
        if cluster is None:
            command(**options)
            return
        from ..errors import ConfGFError
        from ..executors import work_through

        with workers_of(1, cluster) as workers:
            setup = functools.partial(_named, command.__module__, command.__name__)
            ((_, outcome),) = work_through(setup, [options], workers)
        if isinstance(outcome, ConfGFError):
            raise outcome
        sys.stderr.write(outcome.err)
        sys.stdout.write(outcome.out)
        if outcome.code:
            raise typer.Exit(outcome.code)

    own = inspect.signature(command, eval_str=True).parameters.values()
    parameters = [*own, inspect.Parameter("cluster", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_Cluster)]
    anywhere.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    anywhere.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return anywhere


def _named(module: str, name: str) -> Callable[[dict[str, Any]], _Told]:
    """What a worker does with the options of a command."""
    command = getattr(importlib.import_module(module), name)

    def told(options: dict[str, Any]) -> _Told:
        out, err, code = io.StringIO(), io.StringIO(), 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                command(**options)
            except typer.Exit as ended:
                code = ended.exit_code
        return _Told(out.getvalue(), err.getvalue(), code)

    return told

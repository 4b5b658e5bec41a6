"""The typer application.

Exit codes: 0, 1 (work that failed, wholly or for some molecules), 2 (a bad call); 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

from ..errors import ConfGFError
from ..version import __version__
from . import benchmark_boltzmann, train_boltzmann, train_tbg
from .align import align
from .benchmark import conformers
from .benchmark_energies import energies
from .doctor import doctor
from .evaluate import evaluate
from .generate import generate
from .interrupts import ends_when_asked, signals_for_python_only
from .one_job import one_job
from .output import note
from .reference import reference
from .report import report
from .reweight import reweight
from .score import score
from .seed import seed
from .simulate import simulate
from .train import confgf

app = typer.Typer(
    name="openmm-confgf",
    help="Conformers from learned models, scored with OpenMM, and MD started from them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
benchmark = typer.Typer(
    help="Measure generators against reference conformers, and what energies cost.", no_args_is_help=True, rich_markup_mode=None
)
train = typer.Typer(help="Train a network on your own molecules.", no_args_is_help=True, rich_markup_mode=None)
app.command()(ends_when_asked(generate))
app.command()(ends_when_asked(score))
app.command()(ends_when_asked(one_job(reweight)))
app.command()(ends_when_asked(evaluate))
app.command()(ends_when_asked(report))
app.command()(ends_when_asked(seed))
app.command()(ends_when_asked(one_job(simulate)))
app.command()(ends_when_asked(reference))
app.command()(ends_when_asked(one_job(align)))
train.command()(ends_when_asked(one_job(confgf)))
train.command()(ends_when_asked(one_job(train_boltzmann.boltzmann)))
train.command()(ends_when_asked(one_job(train_tbg.tbg)))
benchmark.command()(ends_when_asked(conformers))
benchmark.command()(ends_when_asked(energies))
benchmark.command()(ends_when_asked(benchmark_boltzmann.boltzmann))
app.command()(ends_when_asked(doctor))
app.add_typer(train, name="train")
app.add_typer(benchmark, name="benchmark")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; `arguments` default to those of the process."""
    # what dependencies say to their own developers is no news to someone at a shell
    for category in (DeprecationWarning, FutureWarning, PendingDeprecationWarning):
        warnings.simplefilter("ignore", category)
    try:
        with signals_for_python_only():
            app(args=arguments, prog_name="openmm-confgf")
    except ConfGFError as error:
        note(f"error: {error}")
        sys.exit(error.exit_code)

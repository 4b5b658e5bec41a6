"""``openmm-confgf reweight``."""

from __future__ import annotations

import dataclasses
import re
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..tables import Column, Table
from .generate import describe
from .options import AsJson, Seed
from .output import as_json, note, results_only_on_stdout

if TYPE_CHECKING:
    from ..ensemble import Ensemble
    from ..reweighting import Reweighted

_COLUMNS = (
    Column("molecule", align="left"),
    Column("status"),
    Column("T", "K", "{:g}"),
    Column("without weight"),
    Column("k-hat", layout="{:.2f}"),
    Column("ESS", layout="{:,.0f}"),
    Column("ESS", "%", "{:.2f}"),
    Column("ln Z", layout="{:.2f}"),
    Column("mean energy", "kJ/mol", "{}"),
)


def reweight(
    ensemble: Annotated[Path, typer.Argument(help="Samples with log_q and energies: .h5.", metavar="IN.H5", show_default=False)],
    temperature: Annotated[
        float | None, typer.Option("--temperature", help="In K; default: that of the file.", metavar="K", show_default=False)
    ] = None,
    truncate: Annotated[
        float | None,
        typer.Option(
            "--truncate",
            help="Lower the weights of this fraction of the samples, 0.001, to the largest of the others.",
            metavar="FRACTION",
            show_default=False,
        ),
    ] = None,
    torsions: Annotated[
        list[str] | None,
        typer.Option(
            "--torsion",
            help="Four atoms, numbered from 1 as in the file, 5-7-9-15; repeatable. Default: phi and psi, and the other rotatable bonds.",
            metavar="A-B-C-D",
            show_default=False,
        ),
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option("--plots", help="Draw weights, profiles and, of peptides, Ramachandran plots.", metavar="DIR", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Also write samples without weights, each as often as its weight says: .h5 ...", show_default=False
        ),
    ] = None,
    count: Annotated[
        int | None, typer.Option("-n", "--count", help="How many of these.  [default: as many as there are]", show_default=False)
    ] = None,
    moves: Annotated[
        int,
        typer.Option("--moves", help="Hybrid Monte Carlo moves of each of these on the force field's energies, which takes copies apart."),
    ] = 0,
    seed: Seed = 0,
    json: AsJson = False,
) -> None:
    """Boltzmann averages and free energies of samples whose generator knows their density, and whether these are to be trusted.

    \b
    Example:
      openmm-confgf reweight samples.h5
      openmm-confgf reweight samples.h5 -n 100 --moves 50 -o equilibrium.h5
      openmm-confgf reweight samples.h5 --temperature 320 --truncate 0.001 --torsion 5-7-9-15 --plots pictures --json

    k-hat above its threshold, or fewer than 100 samples, mean that the effective sample size (ESS) is not to be believed, and it is
    withheld. ln Z is the configuration integral on the mean-free subspace, in nm. Errors are standard errors by the bootstrap.
    """
    from ..errors import ConfGFError
    from ..files import check_writable, write_ensembles
    from ..reweighting import reweight as weigh
    from ..version import __version__

    with results_only_on_stdout() as show:
        start = time.perf_counter()
        if output is None and (moves or count is not None):
            raise ConfGFError("--count and --moves are of the samples without weights; name a file for them with -o.")
        if output is not None:
            check_writable(output)
        samples = read_samples(ensemble)
        if temperature is None and (samples.target is None or samples.target.temperature is None):
            raise ConfGFError(f"{ensemble} names no temperature; give one with --temperature.")
        with warnings.catch_warnings():
            # the verdict is printed anyway
            warnings.simplefilter("ignore", UserWarning)
            try:
                found = weigh(samples, temperature, truncate)
            except ValueError as error:
                raise ConfGFError(f"--temperature: {error}") from error
        shown = asked_torsions(samples, torsions)
        energy = found.mean_energy()
        files = [] if plots is None else draw(found, shown, plots)
        if output is not None:
            files += write_ensembles(without_weights(found, count, moves, seed), output)
        report = {
            "command": "reweight",
            "version": __version__,
            **describe(samples),
            **dataclasses.asdict(found.diagnostics),
            "temperature": found.temperature,
            "mean_energy_kj_per_mol": energy.value,
            "mean_energy_error_kj_per_mol": energy.error,
            "torsions": [torsion_report(found, name, atoms) for name, atoms in shown.items()],
            "files": [str(path) for path in files],
            "seconds": round(time.perf_counter() - start, 3),
        }
        if json:
            show(as_json(report))
        else:
            said = found.diagnostics
            status = ", ".join(f"{count} {name}" for name, count in samples.counts().items())
            percent = None if said.ess_fraction is None else 100 * said.ess_fraction
            mean = f"{energy.value:.2f} ± {energy.error:.2f}"
            row = [samples.graph.name, status, found.temperature, said.n_bad, said.k_hat, said.ess, percent, said.log_z, mean]
            show(Table(_COLUMNS, [row]).to_terminal())
        note(found.diagnostics.verdict)
        for path in files:
            note(f"wrote {path}")


def without_weights(found: Reweighted, count: int | None, moves: int, seed: int) -> Ensemble:
    """Samples resampled by their weights, and moved on the force field of their energies if asked for."""
    from ..dynamics.resample_move import resample_move
    from ..errors import ConfGFError

    if not moves:
        return found.resample(count, seed)
    target = found.ensemble.target
    if target is None or target.forcefield is None:
        raise ConfGFError("The samples do not tell the force field of their energies; resample without --moves.")
    return resample_move(found.ensemble, target.forcefield, count, temperature=found.temperature, moves=moves, seed=seed)


def read_samples(path: Path) -> Ensemble:
    """The ensemble of an .h5 file, once it is known to have what weights need.

    Raises
    ------
    ConfGFError
        If it is of another format, cannot be read, or has no log_q or no energies.
    """
    from ..errors import FileFormatError
    from ..files import read_ensembles, suffix_of

    if suffix_of(str(path)) != ".h5":
        raise FileFormatError(f"{path} keeps no log_q; give the .h5 file that the samples were written to first.")
    (samples,) = read_ensembles(path)
    if samples.log_q is None:
        raise FileFormatError(
            f"{path} has no log_q, and no weights without it: only a generator with a density gives it, and samples that were picked, "
            "ranked or minimised have lost it."
        )
    if samples.energy is None:
        raise FileFormatError(f"{path} has no energies; openmm-confgf score {path} --forcefield ... -o scored.h5 gives them.")
    return samples


def asked_torsions(samples: Ensemble, asked: list[str] | None) -> dict[str, Any]:
    """Torsions by name, atoms from 0: those of --torsion, or the molecule's.

    Raises
    ------
    ConfGFError
        If one is not four different atoms of the molecule.
    """
    from ..errors import ConfGFError
    from ..plots.torsions import torsion_name, torsions_to_show

    if not asked:
        return torsions_to_show(samples.graph)
    found = {}
    for text in asked:
        numbers = re.split(r"[\s,-]+", text.strip())
        atoms = [int(number) - 1 for number in numbers if number.isdecimal()]
        if len(atoms) != len(numbers) or len(set(atoms)) != 4 or len(atoms) != 4 or min(atoms) < 0 or max(atoms) >= len(samples.graph):
            raise ConfGFError(f"--torsion {text!r} is not four different atoms from 1 to {len(samples.graph)}; give for example 1-2-3-4.")
        found[torsion_name(samples.graph, atoms)] = atoms
    return found


def torsion_report(found: Reweighted, name: str, atoms: Any) -> dict[str, Any]:
    """The profile of one torsion for the JSON; empty bins are null. Bins are of equal width, from -180 degrees.

    Parameters
    ----------
    found : Reweighted
    name : str
    atoms : array_like of int, (4,)
        From 0; the JSON has them from 1, as --torsion.
    """
    profile = found.profile(atoms)
    return {
        "name": name,
        "atoms": [int(atom) + 1 for atom in atoms],
        "free_energy_kj_per_mol": profile.free_energy.tolist(),
        "error_kj_per_mol": profile.error.tolist(),
    }


def draw(found: Reweighted, torsions: dict[str, Any], folder: Path) -> list[Path]:
    """The pictures: weights.png, torsions.png where a bond turns, and ramachandran.png, or one for each residue, of peptides.

    Parameters
    ----------
    found : Reweighted
    torsions : dict of str to array_like of int, (4,)
        Atoms from 0.
    folder : Path
        It is made if missing.
    """
    from ..molecules.backbone import rama_pairs
    from ..plots.torsions import plot_profiles, plot_ramachandran
    from ..plots.weights import plot_weights

    files = [plot_weights(found, folder / "weights.png")]
    if torsions:
        files.append(plot_profiles(found, folder / "torsions.png", torsions))
    pairs = rama_pairs(found.ensemble.graph)
    for number, (phi, psi) in enumerate(pairs, 1):
        name = "ramachandran.png" if len(pairs) == 1 else f"ramachandran-{number}.png"
        files.append(plot_ramachandran(found, phi, psi, folder / name))
    return files

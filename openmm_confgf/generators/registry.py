"""The generators by name, as the command line and `generate` know them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast, overload

from ..devices import Device, device_name
from ..energies import ForceFieldLike
from ..ensemble import Ensemble
from ..errors import ConfGFError, MoleculeError, WrongTypeError
from ..molecule_like import MoleculeLike, as_graph, is_several
from ..molecules.graph import MolecularGraph
from .base import Generator
from .boltzmann import BoltzmannGenerator
from .confgf import ConfGFGenerator
from .confgf_paper import ConfGFDistGenerator, PublishedConfGFGenerator
from .conforge import ConforgeGenerator
from .etkdg import ETKDGGenerator
from .relaxed import RelaxedGenerator
from .tbg import TBGGenerator


def _tbg(weights: str | Path | None = None, **options: Any) -> TBGGenerator:
    if weights is None:
        raise ConfGFError("There are no shipped weights of tbg; train some (openmm-confgf train tbg), and give them as weights.")
    return TBGGenerator(weights, **options)


_DEFAULT_FIELD: dict[str, Callable[..., Generator]] = {
    "confgf": ConfGFGenerator,
    "mmff+confgf": lambda **options: ConfGFGenerator(start="etkdg+mmff", **options),
    "confgf-noise": lambda **options: ConfGFGenerator(start="noise", **options),
    "confgf+mmff": lambda **options: RelaxedGenerator(ConfGFGenerator(**options), "mmff"),
}

NETWORKS: dict[str, Callable[..., Generator]] = {
    **_DEFAULT_FIELD,
    "confgf-paper": PublishedConfGFGenerator,
    "confgf-dist": ConfGFDistGenerator,
    "boltzmann": BoltzmannGenerator,
    "tbg": _tbg,
}
"""Presets that take other weights than the shipped ones."""

PRESETS: dict[str, Callable[..., Generator]] = {
    **NETWORKS,
    "etkdg": ETKDGGenerator,
    "etkdg+mmff": lambda: ETKDGGenerator(mmff=True),
    "conforge": ConforgeGenerator,
}


_OF_FORCE_FIELDS = ("boltzmann", "tbg")


def create_generator(
    name: str,
    weights: str | Path | None = None,
    compiled: bool = False,
    forcefield: ForceFieldLike | None = None,
    temperature: Any = None,
) -> Generator:
    """A generator with its shipped weights, or with others.

    Parameters
    ----------
    name : str
        One of `PRESETS`: ``"confgf"``, ``"mmff+confgf"`` (its starts relaxed in MMFF94s), ``"confgf-noise"`` (no ETKDG start),
        ``"confgf+mmff"`` (relaxed afterwards), ``"confgf-paper"``, ``"confgf-dist"``, ``"boltzmann"``, ``"tbg"``, ``"etkdg"``,
        ``"etkdg+mmff"`` or ``"conforge"``.
    weights : str or Path, optional
        Of the network: the name of shipped ones, or a ``.safetensors`` file with its card beside it.
    compiled : bool
        Whether to fuse the network's operations first, as `ConfGFGenerator` does.
    forcefield : str, SystemBuilder, openmm.System, ForceField, SystemGenerator or callable, optional
        Of a generator that samples one, as in `BoltzmannGenerator`.
    temperature : float or Quantity, optional
        K, as there.

    Raises
    ------
    ConfGFError
        If there is no such generator, it needs a package that is not installed, weights are given for one that has no network,
        compiling is asked of one that cannot be compiled, or a force field or temperature of one that samples none.
    WeightsError
        If its weights cannot be used.
    """
    if name not in PRESETS:
        raise ConfGFError(f"The generator {name!r} is unknown; use one of {', '.join(PRESETS)}.")
    if weights is not None and name not in NETWORKS:
        raise ConfGFError(f"The generator {name!r} has no network that could take weights; use one of {', '.join(NETWORKS)}.")
    if compiled and name not in _DEFAULT_FIELD:
        raise ConfGFError(f"The generator {name!r} cannot be compiled; use one of {', '.join(_DEFAULT_FIELD)}.")
    target = {key: value for key, value in (("forcefield", forcefield), ("temperature", temperature)) if value is not None}
    if target and name not in _OF_FORCE_FIELDS:
        raise ConfGFError(
            f"The generator {name!r} samples no force field; use {', '.join(_OF_FORCE_FIELDS)}, or leave the "
            f"{' and the '.join(target)} out."
        )
    options: dict[str, Any] = target | ({} if weights is None else {"weights": weights}) | ({"compiled": True} if compiled else {})
    return PRESETS[name](**options)


@overload
def generate(
    molecule: list[Any] | tuple[Any, ...], n: int = 100, *, generator: Generator | str = "confgf", seed: int = 0, device: Device = "auto"
) -> list[Ensemble | ConfGFError]: ...


@overload
def generate(
    molecule: MoleculeLike, n: int = 100, *, generator: Generator | str = "confgf", seed: int = 0, device: Device = "auto"
) -> Ensemble: ...


def generate(
    molecule: MoleculeLike, n: int = 100, *, generator: Generator | str = "confgf", seed: int = 0, device: Device = "auto"
) -> Ensemble | list[Ensemble | ConfGFError]:
    """Conformations of one molecule, or of each molecule of a list.

    Parameters
    ----------
    molecule : str, rdkit.Chem.Mol, openff.toolkit.Molecule, openmm.app.Topology or MolecularGraph, or a list of these
        A SMILES, or what else `as_graph` takes. Hydrogens of RDKit molecules are added where they are missing.
    n : int
        How many conformations of each.
    generator : Generator or str
        A generator, or the name of one (`create_generator`).
    seed : int
        At least 0; the same seed gives the same conformations.
    device : str, int or torch.device
        ``"auto"`` (CUDA where there is one), ``"cpu"``, ``"cuda"``, or ``"cuda:1"`` or 1 for the second CUDA device.

    Returns
    -------
    Ensemble, or list of Ensemble or ConfGFError
        `n` rows with a status each; positions in nm. A list of molecules gives a list in its order, in which a molecule that could not be
        done is its error, so that it costs no other. To take results as they finish, use ``create_generator(name).sample_many``.

    Raises
    ------
    ConfGFError
        If the generator, `n` or the device cannot be used, or the one molecule; in a list, if something is no molecule by its type.

    Examples
    --------
    >>> len(generate("CCO", 3, generator="etkdg"))
    3
    >>> [type(result).__name__ for result in generate(["CCO", "C1CC"], 3, generator="etkdg")]
    ['Ensemble', 'MoleculeError']
    """
    chosen = create_generator(generator) if isinstance(generator, str) else generator
    if not isinstance(chosen, Generator):
        raise WrongTypeError(f"{generator!r} is no generator; give a Generator, or one of {', '.join(PRESETS)}.")
    if not is_several(molecule):
        return chosen.sample(molecule, n, seed=seed, device=device)
    found = [_graph_or_error(one) for one in cast("Iterable[MoleculeLike]", molecule)]
    done: dict[int, Ensemble | ConfGFError] = {i: error for i, error in enumerate(found) if isinstance(error, ConfGFError)}
    graphs = {i: graph for i, graph in enumerate(found) if isinstance(graph, MolecularGraph)}
    places = list(graphs)
    for i, outcome in chosen.sample_many(list(graphs.values()), n, seed=seed, device=device_name(device)):
        done[places[i]] = outcome
    return [done[i] for i in range(len(found))]


def _graph_or_error(molecule: MoleculeLike) -> MolecularGraph | ConfGFError:
    """The molecule, or why there is none; what is no molecule by its type is a mistake of the call."""
    try:
        return as_graph(molecule)
    except MoleculeError as error:
        return error

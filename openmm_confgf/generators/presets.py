"""The generators by name, as the command line and `generate` know them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..ensemble import Ensemble
from ..errors import ConfGFError
from ..molecule import MolecularGraph
from ._base import Generator
from .confgf import ConfGFGenerator
from .confgf_paper import ConfGFDistGenerator, PublishedConfGFGenerator
from .conforge import ConforgeGenerator
from .etkdg import ETKDGGenerator
from .relaxed import RelaxedGenerator

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
}
"""Presets that take other weights than the shipped ones."""

PRESETS: dict[str, Callable[..., Generator]] = {
    **NETWORKS,
    "etkdg": ETKDGGenerator,
    "etkdg+mmff": lambda: ETKDGGenerator(mmff=True),
    "conforge": ConforgeGenerator,
}


def create_generator(name: str, weights: str | Path | None = None, compiled: bool = False) -> Generator:
    """A generator with its shipped weights, or with others.

    Parameters
    ----------
    name : str
        One of `PRESETS`: ``"confgf"``, ``"mmff+confgf"`` (its starts relaxed in MMFF94s), ``"confgf-noise"`` (no ETKDG start),
        ``"confgf+mmff"`` (relaxed afterwards), ``"confgf-paper"``, ``"confgf-dist"``, ``"etkdg"``, ``"etkdg+mmff"`` or ``"conforge"``.
    weights : str or Path, optional
        Of the network: the name of shipped ones, or a ``.safetensors`` file with its card beside it.
    compiled : bool
        Whether to fuse the network's operations first, as `ConfGFGenerator` does.

    Raises
    ------
    ConfGFError
        If there is no such generator, it needs a package that is not installed, weights are given for one that has no network, or
        compiling is asked of one that cannot be compiled.
    WeightsError
        If its weights cannot be used.
    """
    if name not in PRESETS:
        raise ConfGFError(f"The generator {name!r} is unknown; use one of {', '.join(PRESETS)}.")
    if weights is not None and name not in NETWORKS:
        raise ConfGFError(f"The generator {name!r} has no network that could take weights; use one of {', '.join(NETWORKS)}.")
    if compiled and name not in _DEFAULT_FIELD:
        raise ConfGFError(f"The generator {name!r} cannot be compiled; use one of {', '.join(_DEFAULT_FIELD)}.")
    options = ({} if weights is None else {"weights": weights}) | ({"compiled": True} if compiled else {})
    return PRESETS[name](**options)


def generate(
    molecule: MolecularGraph | str, n: int = 100, *, generator: Generator | str = "confgf", seed: int = 0, device: str = "auto"
) -> Ensemble:
    """Conformations of one molecule; for many at once, use ``create_generator(name).sample_many``.

    Parameters
    ----------
    molecule : MolecularGraph or str
        A molecule, or its SMILES.
    n : int
        How many conformations.
    generator : Generator or str
        A generator, or the name of one (`create_generator`).
    seed : int
        At least 0; the same seed gives the same conformations.
    device : str
        ``"auto"`` (CUDA where there is one), ``"cpu"`` or ``"cuda"``.

    Returns
    -------
    Ensemble
        `n` rows with a status each; positions in nm.

    Raises
    ------
    ConfGFError
        If the molecule, the generator or `n` cannot be used.

    Examples
    --------
    >>> len(generate("CCO", 3, generator="etkdg"))
    3
    """
    chosen = create_generator(generator) if isinstance(generator, str) else generator
    return chosen.sample(molecule, n, seed=seed, device=device)

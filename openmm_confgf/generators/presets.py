"""The generators by name, as the command line and `generate` know them."""

from __future__ import annotations

from collections.abc import Callable

from ..ensemble import Ensemble
from ..errors import ConfGFError
from ..molecule import MolecularGraph
from ._base import Generator
from .confgf import ConfGFGenerator
from .confgf_paper import ConfGFDistGenerator, PublishedConfGFGenerator
from .etkdg import ETKDGGenerator

PRESETS: dict[str, Callable[[], Generator]] = {
    "confgf": ConfGFGenerator,
    "confgf-paper": PublishedConfGFGenerator,
    "confgf-dist": ConfGFDistGenerator,
    "etkdg": ETKDGGenerator,
    "etkdg+mmff": lambda: ETKDGGenerator(mmff=True),
}


def create_generator(name: str) -> Generator:
    """A generator with its shipped weights.

    Parameters
    ----------
    name : str
        ``"confgf"``, ``"confgf-paper"``, ``"confgf-dist"``, ``"etkdg"`` or ``"etkdg+mmff"``.

    Raises
    ------
    ConfGFError
        If there is no such generator.
    WeightsError
        If its weights cannot be used.
    """
    if name not in PRESETS:
        raise ConfGFError(f"The generator {name!r} is unknown; use one of {', '.join(PRESETS)}.")
    return PRESETS[name]()


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

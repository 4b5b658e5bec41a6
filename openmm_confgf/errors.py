"""One family of exceptions; every message says what is wrong and what to do next."""

from __future__ import annotations


class ConfGFError(Exception):
    """Base of every error this package raises on purpose.

    ``exit_code`` is what the command line returns: 2 for a bad call, 1 for work that failed.
    """

    exit_code = 2


class MoleculeError(ConfGFError):
    """The input is not one complete molecule (unparsable, fragments, radicals, no hydrogens)."""


class UnsupportedMoleculeError(MoleculeError):
    """The molecule is fine, but the chosen generator's weights never saw its elements or its size."""


class GenerationError(ConfGFError):
    """A generator could not produce any conformation of this molecule."""

    exit_code = 1


class ImpossibleStereoError(GenerationError):
    """Two specified stereocentres exclude each other; the message names them."""


class ForceFieldError(ConfGFError):
    """The force field is unknown or cannot type the molecule."""


class PlatformError(ConfGFError):
    """The OpenMM platform, its properties or the torch device are not available here."""


class FileFormatError(ConfGFError):
    """A file cannot be read or written as asked."""


class WeightsError(ConfGFError):
    """Network weights are missing, truncated, altered, or of another architecture."""


class MissingPackageError(WeightsError):
    """Weights whose network needs a package of an extra that is not installed.

    Parameters
    ----------
    package : str
        As pip calls it.
    reason : str
        Why it could not be imported.
    """

    def __init__(self, package: str, reason: str) -> None:
        super().__init__(f"The network of these weights needs {package} ({reason}); install it: pip install {package}.")
        self.package = package


class LeakageError(ConfGFError):
    """A benchmark molecule was part of the training data of the weights under test."""


class UnsupportedForceError(ConfGFError):
    """A System holds what `BatchedEnergy` cannot take; the message names the force and the alternative."""


class WorkerError(ConfGFError):
    """A worker process died, or could not begin or go on with its work."""

    exit_code = 1


class WrongTypeError(ConfGFError, TypeError):
    """An argument is of a type that the function does not take; the message names those that it takes."""


def type_text(value: object) -> str:
    """What a value is, for the message of a `WrongTypeError`: ``"an int"``, ``"an openff Topology"``, ``"the class dict"``.

    Parameters
    ----------
    value : object
        An instance is named by its type and the package that this comes from; a class by itself.
    """
    if value is None:
        return "None"
    kind = value if isinstance(value, type) else type(value)
    package = kind.__module__.partition(".")[0]
    name = kind.__name__ if package == "builtins" else f"{package} {kind.__name__}"
    article = "the class" if isinstance(value, type) else "an" if name[0].lower() in "aeiou" else "a"
    return f"{article} {name}"


class LossExplodedError(ConfGFError):
    """A training's loss is not finite any more."""

    exit_code = 1

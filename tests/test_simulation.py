import dataclasses
import itertools

import h5py
import mdtraj
import numpy as np
import openmm
import pytest

from openmm_confgf.dynamics.settings import MDSettings
from openmm_confgf.energies import BatchedEnergy, SystemBuilder
from openmm_confgf.errors import ConfGFError, FileFormatError, ForceFieldError, MoleculeError, WrongTypeError
from openmm_confgf.files import read_ensembles, write_ensembles
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.generators.md import MDGenerator
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.simulation import simulate
from openmm_confgf.thermodynamics.convergence import r_hat

QUICK = MDSettings(replicas=3, equilibration=0.1, frame_interval=0.05, ladder=(300, 360), exchange_interval=0.02, compiled=False)


@pytest.fixture(scope="module")
def builder(toy_level):
    return SystemBuilder(toy_level)


@pytest.fixture(scope="module")
def ethanol():
    return MolecularGraph.from_smiles("CCO", name="ethanol")


@pytest.fixture(scope="module")
def whole(builder, ethanol, tmp_path_factory):
    path = tmp_path_factory.mktemp("md") / "whole.h5"
    return simulate(ethanol, path, builder, length=0.5, settings=QUICK, seed=4), path


def same(one, other):
    return np.array_equal(one.positions, other.positions) and np.array_equal(one.energy, other.energy)


def test_mdtraj_and_this_package_read_the_file(whole):
    ensemble, path = whole
    assert len(ensemble) == 30 and ensemble.ok.all()
    (again,) = read_ensembles(path)
    assert same(again, ensemble) and again.provenance == ensemble.provenance
    assert (again.target, again.diagnostics) == (ensemble.target, ensemble.diagnostics)
    assert ensemble.target.temperature == 300 and set(ensemble.diagnostics) == {
        "picoseconds",
        "exchange_acceptance",
        "r_hat_energy",
        "r_hat_torsions",
    }
    trajectory = mdtraj.load(str(path))
    assert trajectory.n_frames == 30
    np.testing.assert_allclose(trajectory.xyz, ensemble.positions, atol=1e-6)


def test_two_halves_are_one_whole_bit_for_bit(whole, builder, ethanol, tmp_path):
    path = tmp_path / "halves.h5"
    first = simulate(ethanol, path, builder, length=0.25, settings=QUICK, seed=4)
    assert len(first) == 15
    second = simulate(ethanol, path, builder, length=0.5, settings=QUICK, seed=4)
    assert same(second, whole[0])
    assert second.provenance == whole[0].provenance


def test_a_shorter_length_returns_what_there_is(whole, builder, ethanol):
    assert same(simulate(ethanol, whole[1], builder, length=0.1, settings=QUICK, seed=4), whole[0])


def test_interruptions_cost_nothing(whole, builder, ethanol, tmp_path):
    path, calls = tmp_path / "stopped.h5", itertools.count(1)

    def stop(done, total):
        assert total == 10
        if next(calls) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(ethanol, path, builder, length=0.5, settings=QUICK, seed=4, progress=stop)
    assert len(read_ensembles(path)[0]) == 12
    assert same(simulate(ethanol, path, builder, length=0.5, settings=QUICK, seed=4, save_every=0), whole[0])


def test_an_ensemble_starts_from_its_own_conformations(whole, builder, tmp_path):
    start = whole[0].select([0, 7])
    ensemble = simulate(start, tmp_path / "md.h5", builder, length=0.1, settings=QUICK, seed=4)
    assert len(ensemble) == 6 and ensemble.ok.all()


@pytest.mark.parametrize("change", [{"settings": MDSettings(replicas=4, compiled=False)}, {"seed": 5}])
def test_other_settings_do_not_go_on_with_it(whole, builder, ethanol, change):
    arguments = {"settings": QUICK, "seed": 4} | change
    with pytest.raises(FileFormatError, match=r"holds a run with .*(replicas 3|seed 4).*same settings"):
        simulate(ethanol, whole[1], builder, length=1.0, **arguments)


def test_other_molecules_and_other_files_are_left_alone(whole, builder, ethanol, tmp_path):
    with pytest.raises(FileFormatError, match="simulation of 'ethanol'"):
        simulate(MolecularGraph.from_smiles("CO"), whole[1], builder, length=1.0, settings=QUICK, seed=4)
    plain = tmp_path / "plain.h5"
    write_ensembles([whole[0]], plain)
    with pytest.raises(FileFormatError, match="no run that could go on"):
        simulate(ethanol, plain, builder, length=1.0, settings=QUICK, seed=4)
    junk = tmp_path / "junk.h5"
    junk.write_bytes(b"not HDF5")
    with pytest.raises(FileFormatError, match="no HDF5 file"):
        simulate(ethanol, junk, builder, length=1.0, settings=QUICK, seed=4)
    assert junk.read_bytes() == b"not HDF5"


@pytest.mark.parametrize(
    ("path", "changes", "message"),
    [
        ("md.sdf", {}, r"ends in \.h5"),
        ("md.h5", {"length": 0}, "positive length"),
        ("md.h5", {"length": float("nan")}, "positive length"),
        ("md.h5", {"seed": -1}, "seed of at least 0"),
        ("md.h5", {"length": 0.01}, "shorter than the interval between its frames"),
    ],
)
def test_bad_calls(builder, ethanol, tmp_path, path, changes, message):
    with pytest.raises(ConfGFError, match=message):
        simulate(ethanol, tmp_path / path, builder, **({"length": 0.5, "settings": QUICK} | changes))
    assert not list(tmp_path.iterdir())


def test_another_atom_order_is_another_file(builder, tmp_path):
    path = tmp_path / "md.h5"
    first, second = (MolecularGraph.from_smiles(smiles) for smiles in ("CCO", "C(C)O"))
    assert first.smiles == second.smiles
    simulate(first, path, builder, length=0.1, settings=QUICK)
    before = path.read_bytes()
    with pytest.raises(FileFormatError, match="another atom order"):
        simulate(second, path, builder, length=0.2, settings=QUICK)
    assert path.read_bytes() == before


def test_another_system_does_not_go_on_with_it(whole, builder, ethanol, monkeypatch):
    system = builder.build(ethanol)
    system.getForce(0).setBondParameters(0, *system.getForce(0).getBondParameters(0)[:3], 1.0)
    monkeypatch.setattr(builder, "build", lambda graph: system)
    with pytest.raises(FileFormatError, match="holds a run with system_sha256"):
        simulate(ethanol, whole[1], builder, length=1.0, settings=QUICK, seed=4)


def test_frames_that_are_not_ok_keep_their_energies_in_a_run_that_goes_on(builder, ethanol, tmp_path, monkeypatch):
    import openmm_confgf.generators.md as md

    check = md.check_conformations
    monkeypatch.setattr(md, "check_conformations", lambda graph, frames: np.where(np.arange(len(frames)) % 5 == 1, 4, check(graph, frames)))
    whole = simulate(ethanol, tmp_path / "whole.h5", builder, length=0.5, settings=QUICK, seed=4)
    simulate(ethanol, tmp_path / "halves.h5", builder, length=0.25, settings=QUICK, seed=4)
    halves = simulate(ethanol, tmp_path / "halves.h5", builder, length=0.5, settings=QUICK, seed=4)
    assert whole.counts() == {"OK": 24, "CLASH": 6} and np.isfinite(whole.diagnostics["r_hat_energy"])
    assert halves.provenance == whole.provenance and halves.diagnostics == whole.diagnostics and same(halves, whole)
    np.testing.assert_allclose(whole.energy, BatchedEnergy(builder.build(ethanol)).evaluate(whole.positions).energy, atol=1e-9)
    (read,) = read_ensembles(tmp_path / "halves.h5")
    assert same(read, whole) and read.counts() == whole.counts()
    assert whole.diagnostics["r_hat_energy"] == r_hat(whole.energy.reshape(-1, 3).T)


@pytest.mark.parametrize("where", ["evaluate", "next_frames"])
def test_interruptions_anywhere_in_a_round_cost_that_round(whole, builder, ethanol, tmp_path, monkeypatch, where):
    import openmm_confgf.simulation as simulation

    kind = {"evaluate": simulation.BatchedEnergy, "next_frames": simulation.MolecularDynamics}[where]
    original, calls = getattr(kind, where), itertools.count(1)

    def stop(self, *arguments):
        result = original(self, *arguments)
        if next(calls) == 4:
            raise KeyboardInterrupt
        return result

    path = tmp_path / "stopped.h5"
    with monkeypatch.context() as patched:
        patched.setattr(kind, where, stop)
        with pytest.raises(KeyboardInterrupt):
            simulate(ethanol, path, builder, length=0.5, settings=QUICK, seed=4)
    assert len(read_ensembles(path)[0]) == 9
    assert same(simulate(ethanol, path, builder, length=0.5, settings=QUICK, seed=4), whole[0])


def test_an_explosion_ends_the_run_and_keeps_what_was_before(builder, ethanol, tmp_path):
    settings = MDSettings(replicas=2, equilibration=0, frame_interval=0.05, timestep=0.05, exchange_interval=0.05, compiled=False)
    with pytest.raises(ConfGFError, match="All replicas of the simulation exploded; shorten the timestep"):
        simulate(ethanol, tmp_path / "md.h5", builder, length=50.0, settings=settings)


def test_molecules_and_systems_as_users_hold_them(whole, builder, ethanol, tmp_path):
    options = {"length": 0.5, "settings": QUICK, "seed": 4}
    own = simulate(ethanol.to_topology(), tmp_path / "own.h5", builder.build(ethanol), **options)
    np.testing.assert_array_equal(own.positions, whole[0].positions)
    assert own.target.forcefield == "openmm.System" and own.target.system_sha256 == whole[0].target.system_sha256
    again = simulate("CCO", tmp_path / "own.h5", builder.build(ethanol), **options)
    np.testing.assert_array_equal(again.positions, own.positions)


def test_a_file_of_before_charges_were_named_goes_on(whole, builder, ethanol, tmp_path, monkeypatch):
    import openmm_confgf.simulation as simulation

    path, source_of = tmp_path / "old.h5", simulation.system_source
    with monkeypatch.context() as patched:
        patched.setattr(simulation, "system_source", lambda given: dataclasses.replace(source_of(given), charges=None))
        simulate(ethanol, path, builder, length=0.25, settings=QUICK, seed=4)
    np.testing.assert_array_equal(simulate(ethanol, path, builder, length=0.5, settings=QUICK, seed=4).positions, whole[0].positions)


def test_a_file_of_before_there_were_targets_goes_on(whole, builder, ethanol, tmp_path, as_of_layout_1):
    """Its settings held what is target and diagnostics today, its ensemble the energies of usable frames, its state those of all."""
    path = tmp_path / "old.h5"
    half = simulate(ethanol, path, builder, length=0.25, settings=QUICK, seed=4)
    as_of_layout_1(path)
    with h5py.File(path, "a") as file:
        file["openmm_confgf_state"]["energies"] = half.energy
    (read,) = read_ensembles(path)
    assert (read.provenance, read.target, read.diagnostics) == (half.provenance, half.target, half.diagnostics)
    with pytest.raises(FileFormatError, match="holds a run with ladder .*, temperature 300.*same settings"):
        simulate(ethanol, path, builder, length=0.5, settings=dataclasses.replace(QUICK, temperature=310, ladder=(310, 360)), seed=4)
    again = simulate(ethanol, path, builder, length=0.5, settings=QUICK, seed=4)
    assert same(again, whole[0]) and again.diagnostics == whole[0].diagnostics and again.provenance == whole[0].provenance
    with h5py.File(path) as file:
        assert "energies" not in file["openmm_confgf_state"]


def test_energies_of_frames_that_were_not_ok_come_from_the_state_of_an_old_file(builder, ethanol, tmp_path, monkeypatch, as_of_layout_1):
    import openmm_confgf.generators.md as md

    check = md.check_conformations
    monkeypatch.setattr(md, "check_conformations", lambda graph, frames: np.where(np.arange(len(frames)) % 5 == 1, 4, check(graph, frames)))
    whole = simulate(ethanol, tmp_path / "whole.h5", builder, length=0.5, settings=QUICK, seed=4)
    half = simulate(ethanol, tmp_path / "old.h5", builder, length=0.25, settings=QUICK, seed=4)
    as_of_layout_1(tmp_path / "old.h5")
    with h5py.File(tmp_path / "old.h5", "a") as file:
        file["openmm_confgf_state"]["energies"] = half.energy
    (read,) = read_ensembles(tmp_path / "old.h5")
    assert np.isposinf(read.energy[~read.ok]).all() and (~read.ok).sum() == 3
    assert same(simulate(ethanol, tmp_path / "old.h5", builder, length=0.5, settings=QUICK, seed=4), whole)


def test_frames_of_several_compounds_are_no_equilibrium(tmp_path):
    def springs(graph):
        system, force = openmm.System(), openmm.HarmonicBondForce()
        for atom in graph.mol.GetAtoms():
            system.addParticle(atom.GetMass())
        for i, j in graph.bonds.tolist():
            force.addBond(i, j, 0.15, 1e5)
        system.addForce(force)
        return system

    mixed = embed_etkdg(MolecularGraph.from_smiles("CC(O)C(N)C"), 8, 0)
    for start in (mixed, mixed.graph):
        with pytest.raises(MoleculeError, match="of 2 diastereomers.* a simulation takes one; split them"):
            simulate(start, tmp_path / "md.h5", springs, length=1.0, settings=MDSettings(replicas=8, compiled=False))
    with pytest.raises(MoleculeError, match="a simulation takes one"):
        MDGenerator(springs, MDSettings(replicas=8, compiled=False)).sample(mixed.graph, 2)
    assert not list(tmp_path.iterdir())


def test_wrong_types(builder, ethanol, tmp_path):
    with pytest.raises(WrongTypeError, match="an int is not taken for a molecule"):
        simulate(3, tmp_path / "md.h5", builder)
    with pytest.raises(WrongTypeError, match="an int is not taken for a force field"):
        simulate(ethanol, tmp_path / "md.h5", 3)
    with pytest.raises(ForceFieldError, match="has 9 particles where 'CO' has 6"):
        simulate("CO", tmp_path / "md.h5", builder.build(ethanol))
    with pytest.raises(ConfGFError, match="The device 'tpu' is unknown"):
        simulate(ethanol, tmp_path / "md.h5", builder, device="tpu")

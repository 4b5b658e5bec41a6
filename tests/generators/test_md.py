from types import SimpleNamespace

import numpy as np
import pytest
from rdkit.Chem import rdMolTransforms

from openmm_confgf.dynamics.molecular_dynamics import MolecularDynamics
from openmm_confgf.dynamics.settings import MDSettings
from openmm_confgf.energies import BatchedEnergy, SystemBuilder
from openmm_confgf.energies.batched.read_system import system_hash
from openmm_confgf.ensemble import Target
from openmm_confgf.errors import ConfGFError, GenerationError, UnsupportedForceError
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.generators.md import MDGenerator, md_ensemble, minimised
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.molecules.torsions import rotatable_torsions
from openmm_confgf.thermodynamics.convergence import r_hat

QUICK = MDSettings(replicas=4, equilibration=0.2, frame_interval=0.1, ladder=(300, 360), compiled=False)


@pytest.fixture(scope="module")
def ethanol():
    return MolecularGraph.from_smiles("CCO", name="ethanol")


@pytest.fixture(scope="module")
def generator(toy_level):
    return MDGenerator(toy_level, QUICK)


@pytest.fixture(scope="module")
def ensemble(generator, ethanol):
    return generator.sample(ethanol, 10, seed=5)


def test_frames_carry_energies_statuses_and_diagnostics(ensemble, generator, ethanol):
    assert len(ensemble) == 10 and ensemble.ok.all() and ensemble.provenance.generator == "md"
    energies = BatchedEnergy(generator.source.build(ethanol)).evaluate(ensemble.positions).energy
    np.testing.assert_allclose(ensemble.energy, energies, atol=1e-9)
    settings = ensemble.provenance.settings
    assert settings["temperature"] == 300 and settings["ladder"] == [300, 360] and settings["replicas"] == 4
    told = ensemble.diagnostics
    assert told["picoseconds"] == pytest.approx(0.2 + 3 * 0.1)
    assert len(told["exchange_acceptance"]) == 1 and 0 <= told["exchange_acceptance"][0] <= 1
    system = generator.source.build(ethanol)
    assert ensemble.target == Target(generator.source.forcefield, system_hash(system), 300)
    assert not {"forcefield", "system_sha256", *told} & set(settings)


def test_the_first_samples_do_not_depend_on_how_many_there_are(ensemble, generator, ethanol):
    fewer = generator.sample(ethanol, 3, seed=5)
    np.testing.assert_array_equal(fewer.positions, ensemble.positions[:3])
    other = generator.sample(ethanol, 3, seed=6)
    assert np.abs(other.positions - fewer.positions).max() > 1e-3


def test_a_molecule_without_parameters_costs_that_molecule(generator, ethanol):
    benzene = MolecularGraph.from_smiles("c1ccccc1")
    outcomes = dict(generator.sample_many([benzene, ethanol], 2))
    assert isinstance(outcomes[0], ConfGFError) and len(outcomes[1]) == 2


@pytest.mark.parametrize("precision", ["single", "mixed", "double"])
def test_precisions_agree_while_paths_have_not_parted(generator, ethanol, precision):
    def path(which):
        settings = MDSettings(replicas=2, equilibration=0, frame_interval=0.01, precision=which, compiled=False)
        system = generator.source.build(ethanol)
        dynamics = MolecularDynamics(system, settings, seed=1)
        # noise of another precision is another noise: start with the same velocities, and leave it out
        dynamics.integrator.friction = 0.0
        from openmm_confgf.generators.etkdg import embed_etkdg

        state = dynamics.start(minimised(embed_etkdg(ethanol, 1, 0), system))
        state.velocities.zero_()
        return dynamics.next_frames(state)[1]

    np.testing.assert_allclose(path(precision), path("double"), atol=1e-6)


def test_systems_with_constraints_or_without_masses_are_refused(generator, ethanol):
    system = generator.source.build(ethanol)
    system.setParticleMass(0, 0.0)
    with pytest.raises(ConfGFError, match="without mass"):
        MolecularDynamics(system, QUICK)
    system = generator.source.build(ethanol)
    system.addConstraint(0, 1, 0.15)
    with pytest.raises(UnsupportedForceError, match="1 constraints"):
        MolecularDynamics(system, QUICK)


def test_nothing_to_start_from(generator, ethanol, ensemble):
    broken = ensemble.replace(positions=np.full_like(ensemble.positions, np.nan), energy=None)
    with pytest.raises(GenerationError, match="no conformation that a simulation can start from"):
        minimised(broken, generator.source.build(ethanol))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": -1.0}, "finite and above 0"),
        ({"timestep": float("nan")}, "finite and above 0"),
        ({"equilibration": -1.0}, "finite and above 0"),
        ({"ladder": (310.0, 350.0)}, "does not rise from 300 K"),
        ({"ladder": (300.0, 350.0, 340.0)}, "does not rise"),
        ({"replicas": 0}, "0 replicas"),
        ({"precision": "half"}, "'half' is unknown; give single, mixed, double"),
        ({"frame_interval": 0.0001}, "shorter than the timestep"),
        ({"exchange_interval": 0.0001}, "shorter than the timestep"),
    ],
)
def test_settings_out_of_range(changes, message):
    with pytest.raises(ConfGFError, match=message):
        MDSettings(**changes)


def test_r_hat_of_chains_that_agree_and_of_chains_that_do_not():
    rng = np.random.default_rng(0)
    same = rng.normal(size=(8, 4000))
    assert 0.999 < r_hat(same) < 1.003
    # B/n tends to the variance of the half chains' means: 16 of them, half at 0 and half at 1, unbiased variance 16/15 * 1/4
    apart = same + np.repeat([0.0, 1.0], 4)[:, None]
    assert r_hat(apart) == pytest.approx(np.sqrt(1 + 16 / 15 / 4), rel=0.01)
    drifting = same + np.linspace(0, 2, 4000)
    assert r_hat(drifting) > 1.1
    assert np.isnan(r_hat(same[:, :3]))


@pytest.mark.slow
def test_alanine_dipeptide_is_distributed_as_in_openmm(shared_data):
    """Energies and torsions at 500 K, where the basins exchange in picoseconds, against one long LangevinMiddle run of OpenMM."""
    import mdtraj
    import openmm
    from openmm import app, unit
    from scipy import stats

    pdb = app.PDBFile(str(shared_data / "ala2_md" / "ala2.pdb"))
    system = app.ForceField("amber99sbildn.xml", "amber99_obc.xml").createSystem(pdb.topology, nonbondedMethod=app.NoCutoff)
    integrator = openmm.LangevinMiddleIntegrator(500, 1, 0.001)
    integrator.setRandomNumberSeed(7)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(pdb.positions)
    openmm.LocalEnergyMinimizer.minimize(context)
    start = context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    context.setVelocitiesToTemperature(500, 7)
    integrator.step(20_000)
    theirs, their_energy = [], []
    for _ in range(4000):
        integrator.step(200)
        state = context.getState(positions=True, energy=True)
        theirs.append(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer))
        their_energy.append(state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))

    settings = MDSettings(temperature=500, replicas=64, equilibration=20, frame_interval=0.5, precision="mixed")
    dynamics = MolecularDynamics(system, settings, seed=3)
    state, rounds = dynamics.start(start[None]), []
    for _ in range(60):
        state, frames = dynamics.next_frames(state)
        rounds.append(frames)
    ours = np.array(rounds).transpose(1, 0, 2, 3)  # replica by replica, for the correlation along time
    our_energy = BatchedEnergy(system).evaluate(ours.reshape(-1, 22, 3)).energy.reshape(64, 60)

    topology = mdtraj.Topology.from_openmm(pdb.topology)
    for name in ("energy", "phi", "psi"):
        if name == "energy":
            a, b = np.array(their_energy)[None], our_energy
        else:
            torsions = [
                getattr(mdtraj, f"compute_{name}")(mdtraj.Trajectory(x, topology))[1][:, 0]
                for x in (np.array(theirs), ours.reshape(-1, 22, 3))
            ]
            a, b = torsions[0][None], torsions[1].reshape(64, 60)
        distance = stats.ks_2samp(a.ravel(), b.ravel()).statistic
        independent = 1 / (1 / effective_samples(a) + 1 / effective_samples(b))
        # the probability of Kolmogorov's statistic at 6 sigma of a normal distribution
        assert distance * np.sqrt(independent) < stats.kstwobign.isf(2 * stats.norm.sf(6)), name


def effective_samples(chains):
    """Samples over the statistical inefficiency (Chodera et al. 2007) of chains (C, T), the autocorrelation averaged over them."""
    centred = chains - chains.mean()
    length = chains.shape[1]
    inefficiency = 1.0
    for lag in range(1, length - 1):
        correlation = (centred[:, :-lag] * centred[:, lag:]).mean() / (centred**2).mean()
        if correlation <= 0:
            break
        inefficiency += 2 * correlation * (1 - lag / length)
    return chains.size / inefficiency


def test_system_builders_are_shared(toy_level, ethanol):
    builder = SystemBuilder(toy_level)
    assert MDGenerator(builder, QUICK).source.build == builder.build


def test_frames_stay_where_an_external_force_holds_them():
    import openmm

    system, trap = openmm.System(), openmm.CustomExternalForce("1000*((x-1)^2 + y^2 + z^2)")
    for k in range(2):
        system.addParticle(12.0)
        trap.addParticle(k)
    system.addForce(trap)
    dynamics = MolecularDynamics(system, MDSettings(replicas=8, equilibration=1, frame_interval=0.1, compiled=False))
    _, frames = dynamics.next_frames(dynamics.start(np.array([[[1.0, 0, 0], [1.0, 0.1, 0]]])))
    assert abs(frames[..., 0].mean() - 1) < 0.2  # 16 atoms of standard deviation 0.035
    assert (BatchedEnergy(system).evaluate(frames).energy < 100).all()


@pytest.mark.parametrize("changes", [{"frame_interval": 0.0015}, {"equilibration": 0.0101}, {"exchange_interval": 0.0333}])
def test_intervals_are_whole_numbers_of_timesteps(changes):
    with pytest.raises(ConfGFError, match="no whole number of timesteps"):
        MDSettings(**changes)


def test_settings_take_quantities():
    from openmm import unit

    settings = MDSettings(temperature=300 * unit.kelvin, timestep=2 * unit.femtosecond, ladder=(300 * unit.kelvin, 350 * unit.kelvin))
    assert settings == MDSettings(timestep=0.002, ladder=(300.0, 350.0))


@pytest.mark.parametrize("ladder", [(300.0, float("nan")), (300.0, float("inf"))])
def test_ladders_are_finite(ladder):
    with pytest.raises(ConfGFError, match="finite"):
        MDSettings(ladder=ladder)


@pytest.mark.parametrize(("smiles", "turn", "agree"), [("CCCC", 120, False), ("CCc1ccccc1", 180, True), ("CCc1cccnc1", 180, False)])
def test_r_hat_of_the_torsions_sees_replicas_that_stay_where_they_began(smiles, turn, agree):
    """Half of the replicas have the torsion turned; turned by the symmetry of a phenyl, they are the same."""
    graph = MolecularGraph.from_smiles(smiles)
    mol = embed_etkdg(graph, 1, seed=0).to_rdkit()
    (quadruple,) = rotatable_torsions(graph).tolist()
    rng, frames = np.random.default_rng(0), []
    start = rdMolTransforms.GetDihedralDeg(mol.GetConformer(), *quadruple)
    for _ in range(20):
        for replica in range(4):
            rdMolTransforms.SetDihedralDeg(mol.GetConformer(), *quadruple, start + turn * (replica % 2) + 10 * rng.standard_normal())
            frames.append(0.1 * mol.GetConformer().GetPositions())
    state = SimpleNamespace(step=100, accepted=np.zeros(0), attempts=np.zeros(0))
    settings = {"replicas": 4, "timestep": 0.001}
    found = md_ensemble(graph, np.array(frames), rng.standard_normal(80), 0, settings, Target(), state).diagnostics
    assert found["r_hat_energy"] < 1.1
    assert (found["r_hat_torsions"] < 1.1) is agree

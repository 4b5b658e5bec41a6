import subprocess
import sys

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdForceFieldHelpers

from openmm_confgf.energies.relaxation import relax
from openmm_confgf.ensemble import Ensemble
from openmm_confgf.errors import ConfGFError, ForceFieldError, GenerationError, ImpossibleStereoError, MoleculeError
from openmm_confgf.files.archive import load_archive
from openmm_confgf.generators import DensityGenerator, ETKDGGenerator, Generator
from openmm_confgf.generators.embedding import Embedding
from openmm_confgf.generators.etkdg import embed_etkdg
from openmm_confgf.molecules.checks import check_conformations
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.status import Status

LIGAND = "CC(C)C[C@H](NC(=O)/C=C/c1ccccc1)C(=O)OC"
BICYCLE = "CC(=O)[C@H]1[C@H]2CN=CN21"  # strained: RDKit alone cannot embed it with its stereo
IMPOSSIBLE = "F[C@]12O[C@]1(O)C2"  # trans-fused bicyclo[1.1.0]butane: nothing embeds it
CYCLOOCTYNE = "C1CCCC#CCC1"


def stereo_is_right(graph, frame):
    """RDKit's perception from coordinates gives every specified atom and bond the tag that it has."""
    seen = graph.to_rdkit(frame)
    Chem.AssignStereochemistryFrom3D(seen, replaceExistingTags=True)
    centres = [(a, seen.GetAtomWithIdx(a.GetIdx())) for a in graph.mol.GetAtoms() if a.GetChiralTag() != Chem.ChiralType.CHI_UNSPECIFIED]
    bonds = [(b, seen.GetBondWithIdx(b.GetIdx())) for b in graph.mol.GetBonds() if b.GetStereo() > Chem.BondStereo.STEREOANY]
    return all(a.GetChiralTag() == s.GetChiralTag() for a, s in centres) and all(b.GetStereo() == s.GetStereo() for b, s in bonds)


@pytest.fixture(scope="module", params=[False, True], ids=["raw", "mmff"])
def generator(request):
    return ETKDGGenerator(mmff=request.param)


@pytest.mark.parametrize(("smiles", "n"), [(LIGAND, 20), (BICYCLE, 5)])
def test_first_samples_do_not_depend_on_how_many_are_asked_for(generator, smiles, n):
    all_samples, half, one = (generator.sample(smiles, m, seed=3) for m in (n, n // 2, 1))
    np.testing.assert_array_equal(all_samples.positions[: n // 2], half.positions)
    np.testing.assert_array_equal(all_samples.positions[:1], one.positions)


def test_samples_do_not_depend_on_the_other_molecules(generator):
    molecules = [MolecularGraph.from_smiles(s) for s in ("CCO", LIGAND, "CCCCN")]
    together = dict(generator.sample_many(molecules, [4, 6, 5], seed=1))
    assert [len(together[i]) for i in range(3)] == [4, 6, 5]
    for i, molecule in enumerate(molecules):
        np.testing.assert_array_equal(together[i].positions, generator.sample(molecule, len(together[i]), seed=1).positions)


def test_samples_and_seeds_differ():
    """RDKit's own seeding makes all conformers of seed 0 the same, and shares conformers between seeds 1 and 2."""
    frames = np.concatenate([embed_etkdg(MolecularGraph.from_smiles("OCCCCN"), 10, seed).positions for seed in (0, 1, 2)])
    apart = np.abs(frames[:, None] - frames[None]).max(axis=(2, 3)) + np.eye(len(frames))
    assert apart.min() > 1e-3


def test_specified_stereo_is_right_by_rdkits_own_perception(shared_data, generator):
    graphs = [m.graph for m in load_archive(shared_data / "qm9_xtb_test.npz")[5::25] if len(m.graph.stereocentres)]
    graphs += [MolecularGraph.from_smiles(s) for s in (LIGAND, BICYCLE, "C[C@H](O)[C@@H](F)/C=C\\C[S@](C)=O", "C/C=N\\O")]
    assert len(graphs) > 8
    rejected = total = 0
    for _, ensemble in generator.sample_many(graphs, 6, seed=0):
        assert isinstance(ensemble, Ensemble)
        assert all(stereo_is_right(ensemble.graph, frame) for frame in ensemble.positions[ensemble.ok]), ensemble.graph.smiles
        np.testing.assert_array_equal(check_conformations(ensemble.graph, ensemble.positions), ensemble.status)
        rejected += (~ensemble.ok).sum()
        total += len(ensemble)
    assert rejected <= 0.1 * total


@pytest.mark.parametrize("smiles", [LIGAND, BICYCLE, "C[C@]12O[C@H]1[C@@H]1CCC[C@H]12"])
def test_several_conformations_of_each_sample(smiles):
    """Sample k has its own whatever the number of samples, and at least one where there is any."""
    graph = MolecularGraph.from_smiles(smiles)
    many, few = (embed_etkdg(graph, n, 4, per_sample=3) for n in (7, 3))
    assert len(many) == 21 and many.ok.reshape(7, 3).any(axis=1).all()
    np.testing.assert_array_equal(many.positions[:9], few.positions)
    if smiles == LIGAND:
        np.testing.assert_array_equal(many.positions, embed_etkdg(graph, 21, 4).positions)


@pytest.mark.parametrize("per_sample", [0, -1])
def test_number_of_conformations_of_a_sample_must_be_positive(per_sample):
    with pytest.raises(ConfGFError, match="at least 1"):
        embed_etkdg(MolecularGraph.from_smiles("CCO"), 2, 0, per_sample)


def test_ctrl_c_reaches_python_after_embedding_in_threads():
    code = (
        "import os, signal, torch; from openmm_confgf import MolecularGraph; from openmm_confgf.generators.etkdg import embed_etkdg\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job in a shell's background inherits that it is ignored
        "torch.set_num_threads(4); embed_etkdg(MolecularGraph.from_smiles('CCCCCCO'), 60, 5)\n"
        "try:\n    os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(5)\n"
        "except KeyboardInterrupt:\n    print('interrupted')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "interrupted", done.stderr


def test_open_centres_come_in_both_hands():
    ensemble = embed_etkdg(MolecularGraph.from_smiles("CC(F)(Cl)N"), 20, 0)
    assert ensemble.ok.all()
    hands = set()
    for frame in ensemble.positions:
        mol = ensemble.graph.to_rdkit(frame)
        Chem.AssignStereochemistryFrom3D(mol)
        hands.add(Chem.MolToSmiles(Chem.RemoveHs(mol)))
    assert len(hands) == 2


def test_strained_bicycles_have_all_their_candidates():
    """RDKit's own tests of the stereo reject nine in ten of this molecule's conformations, all of them true ones."""
    ensemble = embed_etkdg(MolecularGraph.from_smiles("CC(=O)[C@@]1(O)C[C@H]2C[C@H]21"), 6, 0, per_sample=4)
    assert ensemble.ok.all()
    assert all(stereo_is_right(ensemble.graph, frame) for frame in ensemble.positions)


def test_strained_bicycles_are_rescued():
    ensemble = embed_etkdg(MolecularGraph.from_smiles(BICYCLE), 5, 0)
    assert ensemble.ok.all()
    assert ensemble.diagnostics["ways"] == {"etkdg without stereo tests": 5}
    apart = np.abs(ensemble.positions[:, None] - ensemble.positions[None]).max(axis=(2, 3)) + np.eye(5)
    assert apart.min() > 1e-4
    assert embed_etkdg(MolecularGraph.from_smiles(LIGAND), 5, 0).diagnostics["ways"] == {"etkdg": 5}


@pytest.mark.parametrize(
    ("smiles", "way"),
    [
        (CYCLOOCTYNE, "distance geometry by chance"),
        ("c1cc2ccc1CCc1ccc(cc1)CC2", "etkdg without basic knowledge"),  # [2.2]paracyclophane
        ("c1ccc2c(c1)ccc1ccc3ccc4ccc5ccccc5c4c3c12", "etkdg without basic knowledge"),  # [6]helicene
        ("C1CC2=CCC1CC2", "etkdg without basic knowledge"),  # a bridgehead alkene
        ("OC[C@H]1[C@@H]2CCC#CCC[C@@H]21", "distance geometry by chance"),
        ("CC(C)(C)C12C3(C(C)(C)C)C1(C(C)(C)C)C23C(C)(C)C", "etkdg from random coordinates"),
    ],
)
def test_strained_molecules_have_conformations_and_say_how_they_were_made(smiles, way):
    ensemble = embed_etkdg(MolecularGraph.from_smiles(smiles), 4, 0)
    assert ensemble.ok.sum() >= 3 and max(ensemble.diagnostics["ways"].items(), key=lambda item: item[1])[0] == way
    assert all(stereo_is_right(ensemble.graph, frame) for frame in ensemble.positions[ensemble.ok])


@pytest.mark.parametrize("smiles", ["C1CC2C3OC2C2C1C32", "C1OC2CC3COC12C3", "C1CC23COC(CC12)C3", "CC1CC23COC12CN3"])
def test_cages_whose_centres_lie_outside_their_neighbours_are_made_and_last(smiles):
    """Molecules of QM9, of which RDKit's test of such centres rejects all conformations."""
    ensemble = embed_etkdg(MolecularGraph.from_smiles(smiles), 6, 0)
    assert ensemble.ok.all() and ensemble.diagnostics["ways"] == {"distance geometry by chance": 6}
    assert relax(ensemble, "mmff").ok.all()
    apart = np.abs(ensemble.positions[:, None] - ensemble.positions[None]).max(axis=(2, 3)) + np.eye(6)
    assert apart.min() > 1e-4


@pytest.mark.parametrize("smiles", ["C[C@]12O[C@H]1[C@@H]1CCC[C@H]12", "CO[C@@H]1C[C@@H]2NC(=O)[C@H]21", "O=C[C@@]12CC[C@H]1CC2=O"])
def test_trans_fused_small_rings_are_made(smiles):
    """They have GFN2-xTB minima; RDKit's distance bounds make all such fusions cis where the stereo is open."""
    ensemble = embed_etkdg(MolecularGraph.from_smiles(smiles), 4, 0)
    assert ensemble.ok.all()
    assert all(stereo_is_right(ensemble.graph, frame) for frame in ensemble.positions)


def test_a_sample_that_is_no_conformation_is_made_again_in_another_way():
    """ETKDG gives phosphoranes fluorines that touch; one of ten comes out square by the other ways, too."""
    ensemble = embed_etkdg(MolecularGraph.from_smiles("CP(F)(F)(F)F"), 10, 0)
    assert ensemble.ok.sum() >= 9 and "etkdg" not in ensemble.diagnostics["ways"]


def test_molecules_that_cannot_exist_are_an_error_and_stop_no_others(generator):
    with pytest.raises(GenerationError, match="tried: etkdg, .*leave centres open.*confgf-noise"):
        generator.sample(IMPOSSIBLE, 50)
    results = dict(generator.sample_many([MolecularGraph.from_smiles(s) for s in ("CCO", IMPOSSIBLE, "CCN")], 2))
    assert isinstance(results[1], GenerationError)
    assert results[0].ok.all() and results[2].ok.all()


@pytest.mark.parametrize(
    ("smiles", "first", "second"),
    [
        ("O[C@@H]1C[C@@H]2C[C@@H]1C=C2", "C4", "C6"),
        ("C[C@]12CC[C@@H](CC1=O)C2(C)C", "C2", "C5"),  # camphor with a bridgehead turned inside
        ("F[C@]12C[C@@]3(Cl)C[C@](Br)(C1)C[C@](I)(C2)C3", "C2", "C4"),
        ("C[N+]1(CC)[C@H]2CC[C@H]1CC(O)C2", "C5", "C8"),
        ("C[N@+]12CC[C@@H](CC1)[C@H](F)C2", "N2", "C5"),
    ],
)
def test_centres_that_exclude_each_other_are_named(smiles, first, second):
    with pytest.raises(ImpossibleStereoError, match=f"atoms {first} and {second} "):
        ETKDGGenerator().sample(smiles, 100)


@pytest.mark.parametrize("smiles", [IMPOSSIBLE, "C[C@@]12C[C@@]1(F)CC2", "F[C@@]12C[C@H]1OC2"])
def test_what_no_way_embeds_is_refused(smiles):
    with pytest.raises(GenerationError, match="tried:"):
        ETKDGGenerator().sample(smiles, 100)


def test_time_decides_on_a_refusal_and_never_on_samples(monkeypatch):
    cyclophane = MolecularGraph.from_smiles("c1cc2ccc1CCc1ccc(cc1)CC2")
    plenty = embed_etkdg(cyclophane, 3, 0)
    monkeypatch.setattr("openmm_confgf.generators.embedding._TRIAL_SECONDS", 0.0)
    np.testing.assert_array_equal(embed_etkdg(cyclophane, 3, 0).positions, plenty.positions)
    with pytest.raises(GenerationError, match="tried:"):
        embed_etkdg(MolecularGraph.from_smiles(CYCLOOCTYNE), 3, 0)


def test_relaxed_samples_are_minima_of_mmff94s():
    raw, relaxed = (ETKDGGenerator(mmff).sample(LIGAND, 4, seed=2) for mmff in (False, True))
    assert relaxed.provenance.settings["relaxation"]["forcefield"] == "MMFF94s" and relaxed.ok.all()
    mol = relaxed.graph.to_rdkit(np.concatenate([raw.positions, relaxed.positions]))
    properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol, mmffVariant="MMFF94s")
    fields = [rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, properties, confId=i) for i in range(8)]
    forces = [np.sqrt(np.mean(np.square(f.CalcGrad()))) for f in fields]
    energies = [f.CalcEnergy() for f in fields]
    assert max(forces[4:]) < 1e-2 < min(forces[:4])
    assert (np.array(energies[4:]) < np.array(energies[:4])).all()


def test_uff_steps_in_where_mmff_has_no_parameters():
    ensemble = ETKDGGenerator(mmff=True).sample("CB(O)O", 3)
    assert ensemble.provenance.settings["relaxation"]["forcefield"] == "UFF"
    assert ensemble.ok.all()


def test_no_force_field_is_an_error():
    with pytest.raises(ForceFieldError, match="Neither MMFF94s nor UFF"):
        ETKDGGenerator(mmff=True).sample("FS(F)(F)(F)(F)F", 1)


def test_rows_that_fail_stay_as_nan(monkeypatch):
    frames = Embedding.frames

    def rarely(way, graph, seed, first, count, attempts=20):
        made = frames(way, graph, seed, first, count, attempts)
        return made[: (first + 1) % 2] if way.name == "etkdg without stereo tests" else made[:0]

    monkeypatch.setattr(Embedding, "frames", rarely)
    for generator in (ETKDGGenerator(), ETKDGGenerator(mmff=True)):
        ensemble = generator.sample(MolecularGraph.from_smiles(BICYCLE), 5)
        assert ensemble.status.tolist() == [0, Status.NON_FINITE, 0, Status.NON_FINITE, 0]
        assert np.isnan(ensemble.positions[[1, 3]]).all()


def test_provenance_tells_how_to_make_it_again():
    ensemble = ETKDGGenerator().sample("CCO", 2, seed=17)
    assert (ensemble.provenance.generator, ensemble.provenance.seed) == ("etkdg", 17)
    assert ETKDGGenerator(mmff=True).sample("CCO", 2).provenance.generator == "etkdg+mmff"
    assert ensemble.energy is None and ensemble.log_q is None


@pytest.mark.parametrize("smiles", ["[H][H]", "[Cl-]", "O", "C#N", "C1CC1"])
def test_the_smallest_molecules(generator, smiles):
    assert generator.sample(smiles, 3).ok.all()


@pytest.mark.parametrize(
    ("n", "seed", "said"),
    [(0, 0, "at least 1"), (-3, 0, "at least 1"), ([2, 0], 0, "at least 1"), ([2], 0, "1 counts were given for 2"), (1, -1, "at least 0")],
)
def test_bad_calls_are_refused_before_work_starts(generator, n, seed, said):
    molecules = [MolecularGraph.from_smiles("CCO")] * 2
    with pytest.raises(ConfGFError, match=said) as caught:
        generator.sample_many(molecules, n, seed=seed)  # not even iterated
    assert caught.value.exit_code == 2


def test_bad_smiles_are_refused(generator):
    with pytest.raises(MoleculeError, match="cannot be parsed"):
        generator.sample("CC(", 2)


def test_is_a_generator_without_network_or_density():
    generator = ETKDGGenerator()
    assert isinstance(generator, Generator)
    ethanol = MolecularGraph.from_smiles("CCO")
    assert (generator.name, generator.calls(ethanol)) == ("etkdg", 0) and not isinstance(generator, DensityGenerator)
    assert not generator.trained_on(ethanol)
    with pytest.raises(TypeError, match="abstract"):
        Generator()

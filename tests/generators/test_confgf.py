import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from rdkit import Chem

from openmm_confgf.checksums import molecule_hash
from openmm_confgf.energies.relaxation import relax
from openmm_confgf.ensemble import Ensemble, Provenance
from openmm_confgf.errors import ConfGFError, GenerationError, ImpossibleStereoError, PlatformError, UnsupportedMoleculeError
from openmm_confgf.generators import ConfGFGenerator, create_generator, generate
from openmm_confgf.generators.base import sample_stream
from openmm_confgf.molecules.bond_windows import HOTTEST
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.status import Status

MOLECULES = [MolecularGraph.from_smiles(s) for s in ("CCO", "C[C@H](N)C(=O)O", "C/C=C/C", "OC1CC1")]
TEN_HEAVY_ATOMS = MolecularGraph.from_smiles("C#CC(=O)NC(=O)CC(=O)C#C")
DRUG_LIKE = MolecularGraph.from_smiles("CC(=O)N[C@@H](C)C(=O)NC")


@pytest.fixture(scope="module")
def shipped():
    return create_generator("confgf")


def collected(generator, molecules, n, **options):
    return dict(generator.sample_many(molecules, n, **options))


def test_samples_do_not_depend_on_the_other_molecules_nor_on_their_number(shipped):
    generator = shipped
    molecules = [DRUG_LIKE, *MOLECULES]
    together = collected(generator, molecules, [5, 7, 3, 5, 6], seed=3)
    for index, (molecule, n) in enumerate(zip(molecules, [6, 2, 6, 1, 6], strict=True)):
        alone = generator.sample(molecule, n, seed=3)
        shared = min(n, len(together[index]))
        np.testing.assert_allclose(alone.positions[:shared], together[index].positions[:shared], atol=1e-4)


@pytest.fixture
def three_cores(monkeypatch, torch_cores):
    """Three threads of torch, and batches so small that each molecule takes several."""
    torch_cores(3)
    monkeypatch.setattr("openmm_confgf.generators.network.row_batches.PAIRS_PER_BATCH", {"cpu": 500})


def test_batches_side_by_side_give_what_one_after_the_other_does(untrained_field, three_cores):
    generator, molecules = (
        ConfGFGenerator(untrained_field, sigma_max=0.05, flow_calls=1, mode_seeking_sigmas=(0.02,)),
        [TEN_HEAVY_ATOMS, *MOLECULES],
    )
    found = [collected(generator, molecules, 9, seed=2)]
    generator.side_by_side = False
    found.append(collected(generator, molecules, 9, seed=2))
    assert any(e.diagnostics["repaired"] for e in found[0].values())
    for index in range(len(molecules)):
        one, other = (outcome[index] for outcome in found)
        np.testing.assert_array_equal(one.status, other.status)
        np.testing.assert_allclose(one.positions, other.positions, atol=1e-5)


def test_batches_side_by_side_end_with_their_reader_and_pass_errors_on(untrained_field, three_cores, monkeypatch):
    generator, threads, run, cores = ConfGFGenerator(untrained_field), threading.active_count(), ConfGFGenerator._run, []
    generator.fallback = None  # it first tries a row on all cores where a molecule has no sample that is OK

    def recorded(self, *arguments):
        ended = run(self, *arguments)
        cores.append(torch.get_num_threads())
        return ended

    def cores_of_a_new_thread():
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: torch.ones(2).sum() and torch.get_num_threads()).result()

    monkeypatch.setattr(ConfGFGenerator, "_run", recorded)
    reading = generator.sample_many(MOLECULES, 9)
    next(reading)
    assert threading.active_count() == threads + 3 and cores_of_a_new_thread() == 3
    torch.set_num_threads(2)  # the user's choice stays
    reading.close()
    assert threading.active_count() == threads and torch.get_num_threads() == cores_of_a_new_thread() == 2
    assert set(cores) == {1}
    cores.clear()
    generator.sample("CCO", 4)  # a single row, on all cores
    assert set(cores) == {2}

    def fail(*arguments):
        raise MemoryError("no room")

    monkeypatch.setattr(generator, "_run", fail)
    with pytest.raises(MemoryError, match="no room"):
        generator.sample("CCO", 9)
    assert threading.active_count() == threads


def test_another_seed_gives_other_samples_and_each_sample_differs(untrained_field):
    generator = ConfGFGenerator(untrained_field)
    first, second = (generator.sample("CCO", 5, seed=s).positions for s in (0, 1))
    assert np.abs(first - second).max() > 1e-3
    assert min(np.abs(first[a] - first[b]).max() for a in range(5) for b in range(a)) > 1e-3


def test_streams_of_molecules_seeds_and_samples_are_distinct():
    draws = {sample_stream(m, s, k).standard_normal() for m in MOLECULES for s in range(3) for k in range(4)}
    assert len(draws) == len(MOLECULES) * 12


def test_what_the_weights_never_saw_is_refused_and_the_others_still_come(untrained_field):
    generator = ConfGFGenerator(untrained_field)
    strange = [
        MolecularGraph.from_smiles("C[Si](C)(C)C"),
        MOLECULES[0],
        MolecularGraph.from_smiles("C" * 12),
        MolecularGraph.from_smiles("[H][H]"),
    ]
    results = collected(generator, strange, 2)
    assert isinstance(results[0], UnsupportedMoleculeError) and "Si" in str(results[0]) and "--generator etkdg" in str(results[0])
    assert isinstance(results[1], Ensemble)
    assert isinstance(results[2], UnsupportedMoleculeError) and "38 atoms" in str(results[2]) and "20" in str(results[2])
    assert isinstance(results[3], UnsupportedMoleculeError) and "2 atoms" in str(results[3])
    with pytest.raises(UnsupportedMoleculeError):
        generator.sample(strange[0], 1)


def test_impossible_molecule_costs_itself_only(untrained_field):
    impossible = MolecularGraph.from_smiles("C[C@@]12C[C@@]1(O)CC2")
    results = collected(ConfGFGenerator(untrained_field), [impossible, MOLECULES[0]], 2)
    assert isinstance(results[0], GenerationError) and isinstance(results[1], Ensemble)


@pytest.mark.parametrize("preset", ["confgf", "mmff+confgf"])
def test_what_rdkit_cannot_embed_comes_from_noise_with_its_stereo(preset):
    """1-Chloro-3-fluorobicyclobutane: nearly all of RDKit's embeddings give its bridgeheads another hand."""
    graph, generator = MolecularGraph.from_smiles("F[C@]12C[C@@]1(Cl)C2"), create_generator(preset)
    # the field makes the bond between the bridgeheads 0.04 A shorter than a conformer's may be
    generator.roughness = generator.fallback.roughness = HOTTEST
    results = collected(generator, [graph, MOLECULES[1]], [6, 3], seed=4)
    ensemble = results[0]
    assert ensemble.ok.sum() >= 5
    assert set(ensemble.diagnostics["ways"]) <= {"noise", "noise, relaxed", "distance geometry by chance"}
    assert ensemble.provenance.generator == "confgf" and results[1].diagnostics["ways"] == {"etkdg": 3}
    np.testing.assert_allclose(generator.sample(graph, 2, seed=4).positions, ensemble.positions[:2], atol=1e-4)
    for frame in ensemble.positions[ensemble.ok]:  # an independent reading of the stereo
        seen = graph.to_rdkit(frame)
        Chem.AssignStereochemistryFrom3D(seen, replaceExistingTags=True)
        assert Chem.MolToSmiles(Chem.RemoveHs(seen)) == graph.smiles


def test_a_fused_aziridine_that_rdkit_gives_up_comes_out(shipped):
    ensemble, fewer = (shipped.sample("C[C@@H]1N2C[C@H](CO)[C@]12C", n, seed=0) for n in (10, 4))
    assert ensemble.ok.all() and sum(ensemble.diagnostics["ways"].values()) == 10
    np.testing.assert_allclose(ensemble.positions[:4], fewer.positions, atol=1e-4)


@pytest.mark.parametrize(("smiles", "length"), [("C1CCCC#CCC1", 1.199), ("NCCC(=O)N1Cc2ccccc2C#Cc2ccccc21", 1.21)])
def test_the_alkynes_of_rings_have_their_length(smiles, length, shipped):
    """The field makes them 0.1 A too short, and what it spoils is left as its relaxed start; lengths of GFN2-xTB."""
    ensemble = shipped.sample(smiles, 4, seed=0)
    assert ensemble.ok.sum() >= 3 and any("without the network" in way for way in ensemble.diagnostics["ways"])
    (triple,) = [bond for bond in ensemble.graph.mol.GetBonds() if bond.GetBondTypeAsDouble() == 3]
    ends = ensemble.positions[ensemble.ok][:, [triple.GetBeginAtomIdx(), triple.GetEndAtomIdx()]]
    np.testing.assert_allclose(10 * np.linalg.norm(ends[:, 0] - ends[:, 1], axis=-1), length, atol=0.03)


def test_bad_samples_keep_their_row_where_noise_gives_none(untrained_field, monkeypatch):
    generator = ConfGFGenerator(untrained_field, sigma_max=0.05, flow_calls=1, mode_seeking_sigmas=(0.02,))
    generator.roughness = generator.fallback.roughness = HOTTEST  # nothing settles in it
    assert any(len(ensemble.diagnostics["ways"]) == 2 for ensemble in collected(generator, MOLECULES, 8, seed=5).values())
    monkeypatch.setattr(generator, "fallback", None)
    assert all(set(ensemble.diagnostics["ways"]) == {"etkdg"} for ensemble in collected(generator, MOLECULES, 8, seed=5).values())


def test_what_noise_does_not_give_either_is_refused(shipped):
    for smiles in ("C[C@@]12C[C@@]1(F)CC2", "F[C@]12O[C@]1(O)C2"):
        with pytest.raises(GenerationError, match="none of its ways, and confgf from noise gives others in 4 samples; leave centres open"):
            shipped.sample(smiles, 100)
    with pytest.raises(ImpossibleStereoError, match="atoms C4 and C6 "):
        shipped.sample("O[C@@H]1C[C@@H]2C[C@@H]1C=C2", 100)


@pytest.mark.parametrize("n", [0, -3])
def test_number_of_samples_must_be_positive(untrained_field, n):
    with pytest.raises(ConfGFError, match="at least 1"):
        ConfGFGenerator(untrained_field).sample("CCO", n)


def test_unknown_device_and_missing_cuda_are_named(untrained_field):
    with pytest.raises(PlatformError, match="auto, cpu, cuda"):
        ConfGFGenerator(untrained_field).sample("CCO", 1, device="tpu")
    if not torch.cuda.is_available():
        with pytest.raises(PlatformError, match="--device cpu"):
            ConfGFGenerator(untrained_field).sample("CCO", 1, device="cuda")


def test_unknown_generator_lists_the_known_ones():
    with pytest.raises(ConfGFError, match="confgf-paper"):
        create_generator("gpt")


def test_training_molecules_are_recognised_whatever_their_stereo(shipped):
    known = set(shipped.card.trained_on)
    graph = MolecularGraph.from_smiles("CC#CCC[C@@H](C)O")  # first molecule of qm9_xtb_train
    assert molecule_hash(graph.constitution) in known
    assert shipped.trained_on(graph) and shipped.trained_on(MolecularGraph.from_smiles("CC#CCC[C@H](C)O"))
    assert not shipped.trained_on(MolecularGraph.from_smiles("OB1OC2CC1C2F"))


def test_conformers_of_a_stereochemical_molecule_are_sound_and_say_where_they_come_from(shipped):
    ensemble = generate("C[C@H](O)[C@@H](F)/C=C/C(=O)NC", 24, generator=shipped, seed=7)
    assert ensemble.positions.shape == (24, len(ensemble.graph), 3)
    assert (ensemble.status == Status.OK).mean() >= 0.9
    mol = ensemble.to_rdkit()
    for conformer in mol.GetConformers():  # an independent reading of the stereo
        single = Chem.Mol(mol)
        single.RemoveAllConformers()
        single.AddConformer(Chem.Conformer(conformer))
        Chem.AssignStereochemistryFrom3D(single)
        assert Chem.MolToSmiles(Chem.RemoveHs(single)) == ensemble.graph.smiles
    provenance = ensemble.provenance
    assert provenance.generator == "confgf" and provenance.seed == 7 and provenance.weights_sha256 == shipped.card.sha256
    assert provenance.settings["calls"] == provenance.settings["flow_calls"] + len(provenance.settings["mode_seeking_sigmas"])
    np.testing.assert_allclose(ensemble.positions[ensemble.ok].mean(axis=1), 0, atol=1e-9)


def test_hand_of_an_unspecified_centre_is_kept_from_the_start():
    """The flow must not turn centres over: each sample ends with the hand that its ETKDG start had."""
    from openmm_confgf.generators.etkdg import embed_etkdg

    graph = MolecularGraph.from_smiles("CC(O)(F)CC")
    started, ended = (x.positions for x in (embed_etkdg(graph, 16, 0), ConfGFGenerator(candidates=1).sample(graph, 16, seed=0)))

    def hands(x):
        return np.sign(np.einsum("bi,bi->b", x[:, 0] - x[:, 1], np.cross(x[:, 2] - x[:, 1], x[:, 3] - x[:, 1])))

    assert set(hands(started)) == {-1, 1}
    np.testing.assert_array_equal(hands(started), hands(ended))


def test_larger_molecules_settle_longer_and_after_the_smaller_ones(untrained_field, monkeypatch):
    """The bad samples of the smaller ones are drawn again before the larger ones come."""
    batches, run = [], ConfGFGenerator._run

    def recorded(self, batch, starts, streams):
        batches.append({bool(heavy > 9) for heavy in (batch.atoms[..., 0] > 1).sum(1)})
        return run(self, batch, starts, streams)

    monkeypatch.setattr(ConfGFGenerator, "_run", recorded)
    generator = ConfGFGenerator(untrained_field)
    generator.side_by_side, generator.fallback = False, None
    assert generator.calls(TEN_HEAVY_ATOMS) == generator.calls(MOLECULES[0]) + 4 == 18
    found = collected(generator, [TEN_HEAVY_ATOMS, *MOLECULES], 6)
    assert [found[index].provenance.settings["calls"] for index in range(5)] == [18, 14, 14, 14, 14]
    assert all(len(batch) == 1 for batch in batches)
    small, large = batches.count({False}), batches.count({True})
    assert small >= 3 and large >= 3 and batches == small * [{False}] + large * [{True}]


def test_relaxed_starts_are_the_minima_of_the_plain_ones(shipped):
    graph = MolecularGraph.from_smiles("NCC(=O)NC(C)C(=O)O")
    relaxed = create_generator("mmff+confgf")
    assert (relaxed.start, relaxed.calls(DRUG_LIKE), shipped.calls(DRUG_LIKE)) == ("etkdg+mmff", 14, 18)
    ((plain,), (minima, fallback)) = (generator._starts(graph, 6, 2, []).frames for generator in (shipped, relaxed))
    np.testing.assert_array_equal(fallback, plain)
    expected = relax(Ensemble(graph, plain * 0.1, Provenance("starts", "", 2)), "mmff").positions * 10
    np.testing.assert_allclose(minima, expected - expected.mean(axis=1, keepdims=True), atol=1e-6)
    ensemble = relaxed.sample(graph, 6, seed=2)
    assert ensemble.ok.all() and ensemble.provenance.settings["start"] == "etkdg+mmff"
    moved = np.sqrt(((ensemble.positions - shipped.sample(graph, 6, seed=2).positions) ** 2).sum(-1).mean(-1))
    assert moved.max() > 0.02


def test_starts_that_no_force_field_relaxes_stay_plain(shipped):
    graph = MolecularGraph.from_smiles("CS(F)(F)(F)(F)F")
    plain, relaxed = (generator._starts(graph, 2, 0, []).frames for generator in (shipped, create_generator("mmff+confgf")))
    assert len(plain) == len(relaxed) == 1
    np.testing.assert_array_equal(plain[0], relaxed[0])


def test_where_a_relaxed_start_leads_nowhere_the_plain_one_is_taken(untrained_field, monkeypatch):
    generator, starts_seen = ConfGFGenerator(untrained_field, start="etkdg+mmff"), []

    def collapsed_at_first(batch, starts, streams):
        starts_seen.append(starts[0, :3, :9].numpy())
        return starts * (len(starts_seen) > 1)

    monkeypatch.setattr(generator, "_run", collapsed_at_first)
    ensemble = generator.sample("CCO", 3, seed=4)
    assert ensemble.ok.all() and ensemble.diagnostics["repaired"] == 3
    np.testing.assert_allclose(np.stack(starts_seen), np.stack(generator._starts(MOLECULES[0], 3, 4, []).frames), atol=1e-6)


def test_from_noise_alone_the_specified_stereo_comes_out_right():
    generator = ConfGFGenerator(start="noise")
    ensemble = generator.sample("C[C@H](O)[C@@H](F)/C=C/C(=O)NC", 12, seed=1)
    assert (ensemble.status == Status.OK).mean() >= 0.8
    assert ensemble.provenance.settings["start"] == "noise" and ensemble.provenance.settings["calls"] == generator.calls(DRUG_LIKE) == 52


def test_bad_samples_are_drawn_again_whatever_the_other_molecules(untrained_field, monkeypatch):
    """An untrained network leaves most samples in pieces; with a little noise some come out whole at each attempt."""
    generator = ConfGFGenerator(untrained_field, sigma_max=0.05, flow_calls=1, mode_seeking_sigmas=(0.02,))
    generator.fallback, generator.roughness = None, HOTTEST  # nothing settles in it
    monkeypatch.setattr(ConfGFGenerator, "attempts", 1)
    once = collected(generator, MOLECULES, 8, seed=5)
    monkeypatch.setattr(ConfGFGenerator, "attempts", 3)
    thrice = collected(generator, MOLECULES, 8, seed=5)
    repaired = {i: e.diagnostics["repaired"] for i, e in thrice.items()}
    assert sum(repaired.values()) > 0 and all(e.diagnostics["repaired"] == 0 for e in once.values())
    for i, ensemble in thrice.items():
        assert repaired[i] == (ensemble.ok & ~once[i].ok).sum()
        np.testing.assert_allclose(ensemble.positions[once[i].ok], once[i].positions[once[i].ok], atol=1e-6)
        np.testing.assert_allclose(generator.sample(MOLECULES[i], 8, seed=5).positions, ensemble.positions, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"start": "crystal"}, "etkdg, etkdg.mmff, noise"),
        ({"candidates": 0}, "at least one"),
        ({"mode_seeking_sigmas": ()}, "at least one"),
        ({"sigma_max": 0.0}, "above 0"),
        ({"mode_seeking_sigmas": (0.1, float("nan"))}, "above 0"),
    ],
)
def test_settings_that_cannot_be_are_named(untrained_field, options, named):
    with pytest.raises(ConfGFError, match=named):
        ConfGFGenerator(untrained_field, **options)


def test_what_cannot_be_compiled_is_named():
    for name in ("etkdg", "confgf-paper"):
        with pytest.raises(ConfGFError, match="cannot be compiled; use one of confgf, mmff.confgf"):
            create_generator(name, compiled=True)


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_conformers(shipped):
    compiled = create_generator("confgf", compiled=True)
    for molecules, n in ((MOLECULES, 5), (MOLECULES[1:2], 3)):
        expected = collected(shipped, molecules, n, seed=1)
        for index, ensemble in compiled.sample_many(molecules, n, seed=1):
            np.testing.assert_allclose(ensemble.positions, expected[index].positions, atol=1e-4)


def test_a_missing_compiler_is_named(untrained_field, monkeypatch):
    def fail(*arguments):
        raise torch._dynamo.exc.InternalTorchDynamoError("no C++ compiler here")

    generator = ConfGFGenerator(untrained_field, compiled=True)
    monkeypatch.setattr("openmm_confgf.models.field._Block.__call__", fail)
    with pytest.raises(ConfGFError, match="no C.. compiler here.*generate without"):
        generator.sample("CCO", 1)


@pytest.mark.slow
def test_relaxes_the_start_towards_the_reference_geometry(shipped, shared_data):
    """Bond lengths of held-out molecules come nearer to the reference minima than ETKDG's are."""
    from openmm_confgf.files.archive import load_archive

    errors = {"confgf": [], "etkdg": []}
    for reference in load_archive(shared_data / "qm9_xtb_test.npz")[:20]:
        i, j = reference.graph.bonds.T
        truth = np.linalg.norm(reference.positions[:, i] - reference.positions[:, j], axis=-1).mean(0)
        for name, found in errors.items():
            ensemble = generate(reference.graph, 8, generator=shipped if name == "confgf" else name)
            x = ensemble.positions[ensemble.ok]
            found.append(np.abs(np.linalg.norm(x[:, i] - x[:, j], axis=-1) - truth).mean())
    assert np.mean(errors["confgf"]) < 0.5 * np.mean(errors["etkdg"])

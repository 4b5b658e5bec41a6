import dataclasses
import json

import numpy as np
import openmm
import pytest
import torch
from PIL import Image

from openmm_confgf.benchmarks.energy_report import EnergyBenchmark, EnergyRow, Method, SystemTimings
from openmm_confgf.benchmarks.energy_speed import benchmark_energies
from openmm_confgf.benchmarks.energy_systems import DISTINCT_FRAMES, ENERGY_SYSTEMS, EnergySystem, energy_system
from openmm_confgf.energies import create_system
from openmm_confgf.errors import ConfGFError
from openmm_confgf.molecules.peptides import peptide
from openmm_confgf.plots.energies import cost_against_atoms, plot_batch_sizes, plot_sizes

WAYS = {"program", "name", "precision", "threads", "solvent"}


@pytest.fixture(scope="module")
def ala2():
    return energy_system("ala2-obc2")


@pytest.fixture(scope="module")
def spring():
    system, force = openmm.System(), openmm.HarmonicBondForce()
    system.addParticle(12.0), system.addParticle(12.0)
    force.addBond(0, 1, 0.15, 1000.0)
    system.addForce(force)
    frames = np.array([[[0, 0, 0], [0, 0, z]] for z in (0.14, 0.15, 0.17)])
    return EnergySystem("spring", "two atoms", system, frames)


@pytest.fixture(scope="module")
def measured(ala2, spring):
    progress = []
    before = torch.get_num_threads()
    options = {"batch": 20, "threads": (1, 2), "compiled": False, "batch_sizes": True, "repeats": 1}
    result = benchmark_energies([spring, ala2], **options, progress=lambda *report: progress.append(report))
    assert torch.get_num_threads() == before
    assert progress[0][:2] == ("spring", 0) and progress[-1][0] == "ala2-obc2" and progress[-1][1] < progress[-1][2]
    return result


def test_every_way_agrees_with_reference(measured):
    rows = measured.systems[1].rows
    openmm_rows = {(row.way.name, row.way.solvent) for row in rows if row.way.program == "openmm"}
    assert {(name, form) for name in ("Reference", "CPU") for form in ("GBSAOBCForce", "CustomGBForce")} <= openmm_rows
    ours = {(row.way.precision, row.way.threads) for row in rows if row.way.program == "torch" and row.way.on_host}
    assert ours == {(precision, threads) for precision in ("single", "double") for threads in (1, 2)}
    for row in rows:
        exact = row.way.precision == "double" and row.way.solvent == "CustomGBForce"
        assert row.problem is None and row.energy_us > 0 and row.forces_us > 0 and row.first_call_seconds > 0
        assert row.energy_error < (1e-9 if exact else 1e-2) and row.force_error < (1e-9 if exact else 1e-3)
        assert row.conformations == 20 or row.way.program == "openmm"


def test_json_has_units_in_its_keys(measured):
    report = json.loads(json.dumps(measured.to_dict(), allow_nan=False))
    assert report["batch"] == 20 and report["cpu"] and {"openmm", "torch", "openmm_confgf"} <= set(report["versions"])
    system = report["systems"]["ala2-obc2"]
    assert system["n_atoms"] == 22 and system["operations_per_energy_and_forces"] > system["operations_per_energy"] > 1e4
    assert WAYS | {"energy_us_per_conformation", "max_energy_error_kj_per_mol", "max_relative_force_error"} <= set(system["ways"][0])
    ratios = {(ratio["ours"]["threads"], ratio["solvent"]) for ratio in system["ratios"]}
    assert ratios == {(threads, form) for threads in (1, 2) for form in ("GBSAOBCForce", "CustomGBForce")}
    assert {ratio["ours"]["precision"] for ratio in system["ratios"]} == {"single", "double"} and report["pinned_to_cores"]
    assert report["batch_sizes"]["system"] == "ala2-obc2" and {one["batch"] for one in report["batch_sizes"]["ways"]} == {1, 4, 16, 20}


def test_table_names_systems_and_ways(measured):
    text = measured.to_table()
    assert "spring: two atoms, 2 atoms" in text and "| OpenMM CPU | GBSAOBCForce | 1 |" in text and "| eager float32 | - | 2 |" in text
    assert "on 2 threads against OpenMM " in text and " with CustomGBForce: energies " in text


def test_compiled_code_is_measured_with_energies_alone(spring):
    result = benchmark_energies([spring], batch=4, forces=False, repeats=1)
    rows = {(row.way.name, row.way.precision): row for row in result.systems[0].rows if row.way.program == "torch" and row.way.on_host}
    row = rows["compiled", "single"]
    assert row.energy_us > 0 and row.forces_us is None and row.force_error is None and row.energy_error < 1e-4
    values = result.to_dict()["systems"]["spring"]
    assert result.peak_gflops[1] > 0 and values["operations_per_energy_and_forces"] is None
    assert any(way["energy_share_of_peak"] for way in values["ways"])
    assert values["ratios"][0]["times_faster_energy"] > 0 and values["ratios"][0]["times_faster_energy_and_forces"] is None


def test_a_platform_that_cannot_take_a_system_is_said_so(spring, monkeypatch):
    class Broken:
        def __init__(self, system, platform):
            raise_for = platform == "CPU"
            if raise_for:
                from openmm_confgf.errors import PlatformError

                raise PlatformError("no luck")
            self.inner = ContextEnergy(system, platform)

        def __enter__(self):
            return self.inner

        def __exit__(self, *error):
            self.inner.close()

    from openmm_confgf.energies import ContextEnergy

    monkeypatch.setattr("openmm_confgf.benchmarks.energy_speed.ContextEnergy", Broken)
    rows = benchmark_energies([spring], batch=2, compiled=False, repeats=1).systems[0].rows
    (row,) = [row for row in rows if row.way.name == "CPU"]
    assert row.problem == "no luck" and row.energy_us is None


@pytest.mark.parametrize("options", [{"batch": 0}, {"repeats": 0}, {"threads": (0,)}, {"threads": ()}, {"threads": (1, 1)}, {"seed": -1}])
def test_what_cannot_be_measured_is_refused(spring, options):
    with pytest.raises(ConfGFError):
        benchmark_energies([spring], **options)


@pytest.mark.parametrize("systems", [[], ["benzene"], ["ala2-obc2", "ala2-obc2"]])
def test_systems_are_checked_first(systems):
    with pytest.raises(ConfGFError):
        benchmark_energies(systems)


def test_systems_are_those_of_their_names(ala2):
    assert ENERGY_SYSTEMS[0] == "ala2-vacuum" and ala2.n_atoms == 22 and ala2.frames.shape == (DISTINCT_FRAMES, 22, 3)
    expected = create_system(peptide(["ACE", "ALA", "NME"]), "amber14-all.xml,implicit/obc2.xml")
    assert openmm.XmlSerializer.serialize(ala2.system) == openmm.XmlSerializer.serialize(expected)
    batch = ala2.batch(DISTINCT_FRAMES + 2)
    np.testing.assert_array_equal(batch[-2:], ala2.frames[:2])
    with pytest.raises(ConfGFError, match="benzene"):
        energy_system("benzene")


def row(name, precision, us, solvent="CustomGBForce", threads=1):
    return EnergyRow(Method("openmm" if name[0].isupper() else "torch", name, precision, threads, solvent), 10, us, 2 * us, 0.0, 0.0, 1.0)


def made_up(*systems):
    return EnergyBenchmark(4096, 5, True, "some CPU", True, None, {}, {1: 50.0}, systems)


def test_ratios_compare_the_fastest_with_the_fastest():
    rows = [row("Reference", "double", 300.0), row("CPU", "single", 200.0), row("CUDA", "single", 1.0, threads=None)]
    rows += [row("Reference", "double", 40.0, "GBSAOBCForce"), row("eager", "double", 20.0), row("compiled", "single", 4.0)]
    rows += [row("compiled", "single", 0.5, threads=None), EnergyRow(rows[0].way, problem="no luck")]
    ratios = list(SystemTimings("s", "", 22, 1e4, 2e4, tuple(rows)).ratios())
    found = {
        (ratio.ours.threads, ratio.ours.precision, ratio.solvent): (ratio.energies, ratio.forces, ratio.energies_peer.name)
        for ratio in ratios
    }
    assert found == {
        (1, "double", "CustomGBForce"): (10.0, 10.0, "CPU"),
        (1, "double", "GBSAOBCForce"): (2.0, 2.0, "Reference"),
        (1, "single", "CustomGBForce"): (50.0, 50.0, "CPU"),
        (1, "single", "GBSAOBCForce"): (10.0, 10.0, "Reference"),
        (None, "single", "CustomGBForce"): (2.0, 2.0, "CUDA"),
        (None, "single", "GBSAOBCForce"): (80.0, 80.0, "Reference"),
    }


def test_sentences_name_both_precisions():
    text = made_up(SystemTimings("s", "", 22, 1e4, 2e4, (row("CPU", "single", 200.0), row("compiled", "double", 8.0)))).to_table()
    assert "- compiled float64 on 1 thread against OpenMM CPU (single precision) with CustomGBForce: energies 25 times as fast" in text
    assert "a core held for each thread" in text


def test_arithmetic_is_compared_with_the_peak():
    system = SystemTimings("s", "", 22, 1e5, 2e5, (row("compiled", "single", 4.0), row("compiled", "double", 8.0)))
    single, double = made_up(system).to_dict()["systems"]["s"]["ways"]
    assert single["energy_gflop_per_s"] == 25.0 and single["energy_share_of_peak"] == 0.5
    assert double["energy_gflop_per_s"] == 12.5 and double["energy_share_of_peak"] is None


def size_of(path):
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        return image.size


def test_pictures(measured, tmp_path):
    assert size_of(plot_sizes(measured, tmp_path / "atoms.png")) == (1800, 660)
    assert size_of(plot_batch_sizes(measured, tmp_path / "batch.png")) == (1170, 660)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["atoms.png", "batch.png"]
    without = dataclasses.replace(measured, curve=(), curve_system=None)
    with pytest.raises(ConfGFError, match="batch_sizes"):
        plot_batch_sizes(without, tmp_path / "batch.png")


def test_series_of_the_picture_take_the_cheapest_at_each_size():
    from matplotlib.figure import Figure

    systems = [
        SystemTimings(
            f"s{k}", "", n, 1e4, 2e4, (row("Reference", "double", us), row("CPU", "single", us + 1), row("eager", "double", us / 2))
        )
        for k, (n, us) in enumerate(((22, 100.0), (22, 90.0), (300, 1000.0)))
    ]
    axes = Figure().subplots()
    cost_against_atoms(made_up(*systems), axes, "energy_us")
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert drawn["OpenMM, CustomGBForce"] == [[22, 90], [300, 1000]] and drawn["torch, eager float64"] == [[22, 45], [300, 500]]
    assert axes.get_xscale() == axes.get_yscale() == "log"

"""The loop of an alignment, on a model whose best weights are known."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from openmm_confgf.alignment import AlignmentRun, Denoised, boltzmann_target
from openmm_confgf.alignment.loop import AlignmentTraining
from openmm_confgf.alignment.pool import Pool
from openmm_confgf.errors import ConfGFError, LossExplodedError
from openmm_confgf.units import kT
from tests.alignment.mixture import Mixture, MixtureModel

RUN = AlignmentRun(k=4, samples=4, molecules=1, draws=32, steps=200, round_steps=50, learning_rate=0.05, patience=10)


@pytest.fixture(scope="module")
def pool(butanol, butanol_minima):
    return Pool(butanol, *butanol_minima)


def training(model, pool, folder, run=RUN, held_out=(), draw_pool=lambda pool, seed: None):
    return AlignmentTraining(Denoised(model, run.draws), [pool], held_out, run, folder, draw_pool)


def test_a_mixture_learns_boltzmann_populations(mixture, pool, tmp_path):
    rows = training(mixture, pool, tmp_path).fit()
    found = torch.softmax(mixture.network.logits, 0).detach()
    wanted = boltzmann_target(torch.from_numpy(pool.energies)[None], temperature=RUN.temperature)[0]
    assert (found - wanted).abs().max() < 0.05 < 0.3 < (0.25 - wanted).abs().max()
    assert rows[-1]["val_loss"] < rows[0]["val_loss"] and rows[-1]["target_entropy"] <= rows[-1]["val_loss"] + 0.05
    assert not any(parameter.requires_grad for parameter in mixture.network.parameters())


def test_preferences_put_the_lowest_first(mixture, pool, tmp_path):
    run = dataclasses.replace(RUN, loss="dpo", steps=100)
    training(mixture, pool, tmp_path, run).fit()
    order = np.argsort(-mixture.network.logits.detach().numpy())
    assert order[0] == pool.energies.argmin()


class Categorical:
    """An exact density over four conformations."""

    def __init__(self, centres):
        self.centres, self.network = centres, Mixture(len(centres))

    def model_energies(self, molecule, positions, *, seed):
        which = np.abs(positions[:, None] - self.centres).sum((-2, -1)).argmin(1)
        return -torch.log_softmax(self.network.logits, 0)[which]

    def anchor(self, molecule, positions, weights, *, seed):
        return torch.zeros(())


def test_distillation_is_the_likelihood_of_importance_weighted_samples(butanol, butanol_minima, tmp_path):
    """Whatever the samples were drawn from: weights are those of the pool, and not those of the network as it becomes."""
    positions, _ = butanol_minima
    energies, drawn = np.array([0.0, 1.0, 2.0, 0.5]), np.log([4.0, 3.0, 2.5, 4.0])
    pool = Pool(butanol, positions, energies, drawn)
    model = Categorical(positions)
    run = dataclasses.replace(RUN, loss="distillation", minimised=False, k=64, samples=64, steps=300, round_steps=300, learning_rate=0.02)
    AlignmentTraining(model, [pool], [], run, tmp_path, lambda pool, seed: None).fit()
    wanted = torch.softmax(torch.from_numpy(drawn - energies / kT(RUN.temperature)), 0)
    assert 1 / wanted.square().sum() > 0.6 * 4  # so that nothing is tempered
    assert (torch.softmax(model.network.logits, 0) - wanted).abs().max() < 0.03 < (0.25 - wanted).abs().max()


def test_a_soft_target_is_another_temperature_and_alpha(butanol_minima, pool, tmp_path):
    run, found = dataclasses.replace(RUN, steps=20, round_steps=10, anchor=0.0), []
    for number, change in enumerate(({"softness": 2.0}, {"alpha": 0.5, "temperature": 2 * RUN.temperature}, {})):
        model = MixtureModel(butanol_minima[0])
        rows = training(model, pool, tmp_path / str(number), dataclasses.replace(run, **change)).fit()
        found.append((model.network.logits.detach(), rows[-1]["target_entropy"]))
    assert torch.equal(found[0][0], found[1][0]) and not torch.allclose(found[0][0], found[2][0])
    assert found[0][1] == found[1][1] > found[2][1]


def test_a_soft_target_has_the_same_minimiser(mixture, pool, tmp_path):
    training(mixture, pool, tmp_path, dataclasses.replace(RUN, softness=2.0)).fit()
    wanted = boltzmann_target(torch.from_numpy(pool.energies)[None], temperature=RUN.temperature)[0]
    assert (torch.softmax(mixture.network.logits, 0) - wanted).abs().max() < 0.05


def test_weights_are_extrapolated_from_where_they_began(butanol_minima, pool, tmp_path):
    """In another call, too: a run that is finished ends with whatever factor is asked for."""
    run, found = dataclasses.replace(RUN, steps=20, round_steps=10), []
    for factor in (1.0, 1.0, 2.5):
        model = MixtureModel(butanol_minima[0])
        model.network.logits.data = torch.tensor([0.1, 0.0, -0.1, 0.2], dtype=torch.float64)
        first = model.network.logits.detach().clone()
        training(model, pool, tmp_path, dataclasses.replace(run, extrapolation=factor)).fit()
        found.append(model.network.logits.detach() - first)
    assert found[0].abs().max() > 0.1
    assert torch.equal(found[0], found[1]) and torch.allclose(found[2], 2.5 * found[0])


@pytest.mark.parametrize("refresh", [0, 1])
def test_a_stopped_run_goes_on_bit_for_bit(butanol_minima, pool, tmp_path, refresh):
    run = dataclasses.replace(RUN, steps=15, round_steps=5, refresh=refresh)

    class Stop(Exception):
        pass

    def stop(row, rounds):
        if row["round"] == 2:
            raise Stop

    def drawn(pool, seed):
        return Pool(pool.graph, pool.positions, pool.energies + np.random.default_rng(seed).standard_normal(4))

    models = [MixtureModel(butanol_minima[0]) for _ in range(3)]
    training(models[0], pool, tmp_path / "a", run, draw_pool=drawn).fit()
    with pytest.raises(Stop):
        training(models[1], pool, tmp_path / "b", run, draw_pool=drawn).fit(stop)
    training(models[2], pool, tmp_path / "b", run, draw_pool=drawn).fit()
    assert torch.equal(models[0].network.logits, models[2].network.logits)


def test_pools_are_drawn_anew_in_turn(mixture, pool, tmp_path):
    drawn = []

    def draw_pool(pool, seed):
        drawn.append(([one is pool for one in pools].index(True), seed))

    pools = [dataclasses.replace(pool) for _ in range(5)]
    run = dataclasses.replace(RUN, steps=25, round_steps=5, refresh=2)
    AlignmentTraining(Denoised(mixture, run.draws), pools, (), run, tmp_path, draw_pool).fit()
    assert drawn == [(1, 1), (3, 1), (0, 2), (2, 2), (4, 2), (1, 3), (3, 3), (0, 4), (2, 4), (4, 4)]


@pytest.mark.parametrize("refresh", [0, 5])
def test_squares_let_go_of_samples_that_have_moved(butanol, butanol_minima, tmp_path, refresh):
    """Each is two nats from where it was drawn, the way in which it is pushed; of pools that stay, that is no limit."""
    model, energies = Categorical(butanol_minima[0]), kT(300) * np.array([0.0, 0.1, 5.0, 5.1])
    pool = Pool(butanol, butanol_minima[0], energies, np.log(4) + np.array([2.0, 2.0, -2.0, -2.0]))
    run = AlignmentRun(
        "log-variance", 64, anchor=0.0, minimised=False, samples=64, steps=5, round_steps=5, refresh=refresh, learning_rate=0.05
    )
    AlignmentTraining(model, [pool], (), run, tmp_path, lambda pool, seed: None).fit()
    assert bool((model.network.logits == 0).all()) == bool(refresh)


def test_half_of_the_squares_are_of_samples_by_their_weights(butanol, butanol_minima, tmp_path):
    class Noting(Categorical):
        seen = np.zeros(4)

        def model_energies(self, molecule, positions, *, seed):
            if torch.is_grad_enabled():
                self.seen += np.bincount(np.abs(positions[:, None] - self.centres).sum((-2, -1)).argmin(1), minlength=4)
            return super().model_energies(molecule, positions, seed=seed)

    model, energies = Noting(butanol_minima[0]), kT(300) * np.array([0.0, 1.0, 2.0, 6.0])
    pool = Pool(butanol, butanol_minima[0], energies, np.full(4, np.log(4)))
    run = AlignmentRun("log-variance", 500, anchor=0.0, minimised=False, samples=500, steps=20, round_steps=20, learning_rate=1e-3)
    AlignmentTraining(model, [pool], (), run, tmp_path, lambda pool, seed: None).fit()
    wanted = 0.125 + 0.5 * np.exp(-energies / kT(300)) / np.exp(-energies / kT(300)).sum()
    assert model.seen.sum() == 20 * 500
    assert np.abs(model.seen / model.seen.sum() - wanted).max() < 6 * 0.5 / np.sqrt(20 * 500)


def test_what_does_not_help_is_not_kept(mixture, pool, tmp_path):
    """Those held out say the opposite of those that are learnt from: the run stops, with the weights that it started from."""
    opposite = Pool(pool.graph, pool.positions, -pool.energies)
    made = training(mixture, pool, tmp_path, dataclasses.replace(RUN, patience=2), [opposite])
    rows = made.fit()
    assert len(rows) == 2 and made.best_round == 0 and (mixture.network.logits == 0).all()
    again = training(mixture, pool, tmp_path, dataclasses.replace(RUN, patience=2), [opposite])
    assert again.fit() == rows and (mixture.network.logits == 0).all()


def test_a_loss_that_explodes_leaves_the_best_round(butanol_minima, pool, tmp_path):
    class Exploding(MixtureModel):
        calls = 0

        def denoising_errors(self, *arguments):
            self.calls += torch.is_grad_enabled()
            return super().denoising_errors(*arguments) * (math.nan if self.calls > 140 else 1.0)

    model = Exploding(butanol_minima[0])
    made = training(model, pool, tmp_path)
    with pytest.raises(LossExplodedError, match="lower learning rate"):
        made.fit()
    assert made.best_round == 1 and model.network.logits.isfinite().all() and (model.network.logits != 0).any()
    assert (tmp_path / "last.pt").exists()


def test_pools_without_a_preference_are_refused(butanol, butanol_minima):
    positions, energies = butanol_minima
    for wrong in (np.full(4, 3.0), np.full(4, np.inf), np.array([0.0, np.inf, np.inf, np.inf])):
        with pytest.raises(ConfGFError, match="tell no preference|tells no preference"):
            Pool(butanol, positions, wrong)
    assert len(Pool(butanol, positions, np.where(energies == energies.max(), np.inf, energies))) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 1}, "at least 2"),
        ({"k": 3, "loss": "dpo"}, "even number"),
        ({"k": 32}, "draw more samples"),
        ({"loss": "ppo"}, "no loss 'ppo'"),
        ({"alpha": 0.0}, "alpha is 0"),
        ({"softness": 0.0}, "softness is 0"),
        ({"extrapolation": math.inf}, "extrapolation is inf"),
        ({"steps": 75, "round_steps": 50}, "give a multiple"),
        ({"refresh": -1}, "at least 0"),
    ],
)
def test_settings_out_of_range_are_named(change, message):
    with pytest.raises(ConfGFError, match=message):
        AlignmentRun(**change)

"""Densities of flows against closed forms, quadrature and an analytic target."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from openmm_confgf.errors import ConfGFError
from openmm_confgf.models.continuous_flow import ContinuousFlow, dimensions, draw_noise, normal_log_prob
from openmm_confgf.models.divergence import MolecularField
from openmm_confgf.models.egnn import EGNN, EGNNConfig, without_mean
from openmm_confgf.models.ode import AdaptiveSteps, FixedSteps
from openmm_confgf.training.objectives.flow_matching import flow_matching_loss

CLOSE = AdaptiveSteps(1e-9, 1e-9)


@dataclasses.dataclass
class Widening:
    """``v = M (x - mean)``, the same for each atom."""

    matrix: torch.Tensor
    mask: torch.Tensor | None = None

    def __call__(self, t, positions):
        return without_mean(positions @ self.matrix.T, self.mask)

    def rows(self, chosen):
        return dataclasses.replace(self, mask=None if self.mask is None else self.mask[chosen])


def noise(count=5, n=4, seed=0, mask=None):
    return draw_noise(count, n, torch.Generator().manual_seed(seed), mask)


def gaussian_log_prob(x, covariance):
    """Of n atoms with the same covariance (3, 3) each, without their mean: the density is a product over n - 1 orthonormal directions."""
    squares = torch.einsum("bik,kl,bil->b", x, torch.linalg.inv(covariance), x)
    return -0.5 * squares - 0.5 * (x.shape[1] - 1) * torch.logdet(2 * math.pi * covariance)


@pytest.mark.parametrize("integrator", [CLOSE, FixedSteps(40)])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_a_linear_flow_gives_the_gaussian_that_it_must(integrator, scale):
    matrix = torch.tensor([[0.3, 0.4, 0.0], [-0.2, -0.5, 0.1], [0.3, 0.0, 0.6]], dtype=torch.float64)
    flow, z = ContinuousFlow(scale, integrator), noise()
    map_ = torch.linalg.matrix_exp(matrix) / scale
    drawn = flow.sample(Widening(matrix), z)
    torch.testing.assert_close(drawn.positions, z @ map_.T, rtol=0, atol=1e-6)
    expected = gaussian_log_prob(drawn.positions, map_ @ map_.T)
    torch.testing.assert_close(drawn.log_q, expected, rtol=0, atol=1e-5)
    again = flow.log_prob(Widening(matrix), drawn.positions + 0.1)  # wherever their centre is
    torch.testing.assert_close(again.log_q, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(again.positions, drawn.positions)
    assert drawn.converged.all() and again.converged.all()


def test_the_prior_is_normalised_and_its_samples_have_its_dimension():
    """Of two atoms, on a grid of their three dimensions, in an orthonormal basis of the subspace."""
    line = torch.linspace(-7, 7, 71, dtype=torch.float64)
    z = torch.cartesian_prod(line, line, line)
    positions = torch.stack([z, -z], 1) / math.sqrt(2)
    assert normal_log_prob(positions).exp().sum() * (line[1] - line[0]) ** 3 == pytest.approx(1, abs=1e-9)
    mask = torch.ones(4000, 6, dtype=torch.bool)
    mask[2000:, 4:] = False
    drawn = noise(4000, 6, mask=mask)
    assert (drawn[2000:, 4:] == 0).all() and drawn.mean(1).abs().max() < 1e-14
    for rows, freedom in ((slice(2000), 15), (slice(2000, 4000), 9)):
        assert dimensions(drawn[rows], mask[rows]).tolist() == [freedom] * 2000
        squares = drawn[rows].square().sum((1, 2))
        assert abs(squares.mean() - freedom) < 6 * math.sqrt(2 * freedom / 2000)
        expected = -0.5 * squares - 0.5 * freedom * math.log(2 * math.pi)
        torch.testing.assert_close(normal_log_prob(drawn[rows], mask[rows]), expected)


def small_field(n=4, count=None, dtype=torch.float64, mask=None):
    torch.manual_seed(5)
    network = EGNN(EGNNConfig(atom_features=n, width=8, layers=2)).requires_grad_(False)
    for layer in network.layers:
        torch.nn.init.xavier_uniform_(layer.shift_out.weight, gain=0.05)
    network.to(dtype)
    features = torch.eye(n, dtype=dtype)
    return MolecularField(network, features if count is None else features.expand(count, n, n), mask)


def test_there_and_back_has_one_density():
    flow, field = ContinuousFlow(10.0, CLOSE), small_field()
    drawn = flow.sample(field, noise())
    back = flow.log_prob(field, drawn.positions)
    torch.testing.assert_close(back.log_q, drawn.log_q, rtol=0, atol=1e-6)
    assert (drawn.log_q - normal_log_prob(noise()) - 9 * math.log(10)).abs().min() > 1e-3
    mirrored = flow.log_prob(field, -drawn.positions)
    torch.testing.assert_close(mirrored.log_q, drawn.log_q, rtol=0, atol=1e-6)


def test_chunks_padding_and_company_change_no_density():
    flow, field = ContinuousFlow(1.0, CLOSE, chunk=2), small_field()
    drawn = flow.sample(field, noise())
    whole = dataclasses.replace(flow, chunk=256).sample(field, noise())
    torch.testing.assert_close(drawn.log_q, whole.log_q, rtol=0, atol=1e-10)
    assert torch.equal(drawn.evaluations, whole.evaluations)
    mask = torch.tensor([[True] * 4] * 4 + [[True, True, True, False]])
    padded = flow.sample(dataclasses.replace(small_field(count=5), mask=mask), noise())
    torch.testing.assert_close(padded.log_q[:4], drawn.log_q[:4], rtol=0, atol=1e-10)
    three = dataclasses.replace(field, features=field.features[:3])
    alone = flow.sample(three, noise()[4:, :3])
    torch.testing.assert_close(padded.log_q[4], alone.log_q[0], rtol=0, atol=1e-10)
    torch.testing.assert_close(padded.positions[4, :3], alone.positions[0], rtol=0, atol=1e-10)
    assert (padded.positions[4, 3] == 0).all()


def test_a_network_in_single_precision_gives_double_log_densities():
    double, single = small_field(), small_field(dtype=torch.float32)
    flow = ContinuousFlow(10.0, FixedSteps(10))
    found = flow.sample(single, noise())
    assert found.log_q.dtype == found.positions.dtype == torch.float64
    torch.testing.assert_close(found.log_q, flow.sample(double, noise()).log_q, rtol=0, atol=1e-4)


def test_samples_that_do_not_arrive_have_no_density():
    flow = ContinuousFlow(1.0, AdaptiveSteps(1e-12, 1e-12, max_steps=3))
    drawn = flow.sample(small_field(), noise())
    assert not drawn.converged.any() and drawn.log_q.isnan().all()
    assert drawn.evaluations.tolist() == [20] * 5
    given = noise()
    given[2] = torch.nan
    found = ContinuousFlow(1.0).log_prob(small_field(), given)
    assert found.converged.tolist() == [True, True, False, True, True] and found.log_q[[0, 1, 3, 4]].isfinite().all()


def test_flows_without_a_scale_are_refused():
    for wrong in ({"scale": 0.0}, {"scale": math.nan}, {"chunk": 0}):
        with pytest.raises(ConfGFError, match="make both positive"):
            ContinuousFlow(**wrong)


def bond_log_density(positions):
    """Of two atoms whose distance is near 1.5: normalised by quadrature over their three dimensions ``z = (x_1 - x_2) / sqrt 2``."""
    distance = (positions[:, 0] - positions[:, 1]).norm(dim=-1)
    r = torch.linspace(0, 6, 6001, dtype=torch.float64)
    normaliser = torch.trapezoid(4 * math.pi * r**2 * torch.exp(-8 * (math.sqrt(2) * r - 1.5) ** 2), r)
    return -8 * (distance - 1.5) ** 2 - normaliser.log()


def bonds(count, rng):
    """Exact samples: z**2 exp(-8 (sqrt 2 z - 1.5)**2) by inversion, turned at random."""
    r = np.linspace(0, 6, 20001)
    density = r**2 * np.exp(-8 * (math.sqrt(2) * r - 1.5) ** 2)
    length = np.interp(rng.random(count), np.cumsum(density) / density.sum(), r)
    way = rng.standard_normal((count, 3))
    z = torch.from_numpy(length[:, None] * way / np.linalg.norm(way, axis=1, keepdims=True))
    return torch.stack([z, -z], 1) / math.sqrt(2)


def test_a_trained_flow_reproduces_an_analytic_density():
    """The mean of p / q over samples of q, and of q / p over samples of p, is 1, and the weights are nearly equal."""
    torch.manual_seed(0)
    rng, features = np.random.default_rng(0), torch.ones(2, 1)
    network = EGNN(EGNNConfig(atom_features=1, width=24, layers=2))
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 600)
    for _ in range(600):
        clean = bonds(256, rng).float()
        start, jitter = (without_mean(torch.randn_like(clean)) for _ in range(2))
        loss = flow_matching_loss(network, torch.rand(256), start, clean, jitter, features)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    field = MolecularField(network.requires_grad_(False), features)
    drawn = ContinuousFlow(1.0).sample(field, noise(1000, 2, seed=1))
    weights = (bond_log_density(drawn.positions) - drawn.log_q).exp()
    assert abs(weights.mean() - 1) < 6 * weights.std() / math.sqrt(len(weights))
    assert weights.sum() ** 2 / weights.square().sum() > 0.9 * len(weights)
    given = bonds(1000, rng)
    ratios = (ContinuousFlow(1.0).log_prob(field, given).log_q - bond_log_density(given)).exp()
    assert abs(ratios.mean() - 1) < 6 * ratios.std() / math.sqrt(len(ratios))

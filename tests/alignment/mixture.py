"""A denoising model whose minimiser is known: a Gaussian mixture around given conformations, with weights that are learnt."""

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import nn


class Mixture(nn.Module):
    """Logits of K components."""

    def __init__(self, count):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(count, dtype=torch.float64))


class MixtureModel:
    """``p(x) = sum_k softmax(logits)_k N(x | c_k, sigma_0^2)`` of one molecule, and its exact denoiser; lengths in nm."""

    least_level = 0.0
    WIDTH, LEAST, MOST = 0.005, 0.01, 1.0

    def __init__(self, centres):
        self.centres = torch.from_numpy(centres)
        self.network = Mixture(len(centres))

    def sample(self, molecule, n, *, seed):
        rng = np.random.default_rng(seed)
        chosen = rng.choice(len(self.centres), n, p=torch.softmax(self.network.logits, 0).detach().numpy())
        return self.centres.numpy()[chosen] + self.WIDTH * rng.standard_normal((n, len(molecule), 3))

    def denoising_errors(self, molecule, positions, levels, noise):
        # turned onto its component, each by itself: the mixture is none of all orientations
        clean = torch.stack([frame @ self._turn(frame).T for frame in positions])
        span = np.log(self.MOST / self.LEAST)
        sigma = (self.LEAST * (levels * span).exp())[:, None, None, None]
        noisy = clean + sigma * (noise - noise.mean(1, keepdim=True))[:, None]
        variance = self.WIDTH**2 + sigma**2
        away = (noisy[..., None, :, :] - self.centres).square().sum((-2, -1))
        share = torch.softmax(self.network.logits - away / (2 * variance[..., 0]), -1)
        mean = torch.einsum("skc,cni->skni", share, self.centres)
        denoised = mean + self.WIDTH**2 / variance * (noisy - mean)
        return span * ((denoised - clean) / sigma).square().sum((-2, -1))

    def _turn(self, frame):
        fits = [Rotation.align_vectors(centre, frame.numpy()) for centre in self.centres.numpy()]
        return torch.from_numpy(min(fits, key=lambda fit: fit[1])[0].as_matrix())

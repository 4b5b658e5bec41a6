"""Losses that teach a model relative probabilities: energies of K conformations of each of B molecules in, a number out.

Nothing here knows a molecule or a network: `eba_loss` and `dpo_loss` take what a model and a force field say of the same
conformations, so that they serve any model that says something of the kind.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ConfGFError
from ..units import kT


def boltzmann_target(energies: Tensor, *, temperature: float, lengths: Tensor | None = None) -> Tensor:
    """Boltzmann factors among the K conformations of each molecule, ``softmax_k(-E_k / (RT sqrt(L)))``.

    The square root of the length L, which is 1 by default, is that of the released code of Lu et al. 2025: it makes the target of a large
    molecule softer than Boltzmann's.

    Parameters
    ----------
    energies : Tensor, (B, K)
        kJ/mol; +inf has probability 0.
    temperature : float
        T in K; ``math.inf`` gives all that are finite the same probability.
    lengths : Tensor, (B,), optional
        L.

    Returns
    -------
    Tensor, (B, K)
        0 in a row without a finite energy.

    Raises
    ------
    ConfGFError
        If an energy is NaN or -inf, the temperature is not above 0 K, or a length is not.

    Examples
    --------
    RT log 2 above the minimum, half as probable:

    >>> energies = torch.tensor([[0.0, 1.7289, math.inf]])
    >>> boltzmann_target(energies, temperature=300.0).round(decimals=3)
    tensor([[0.6670, 0.3330, 0.0000]])
    """
    if not temperature > 0:
        raise ConfGFError(f"The temperature is {temperature} K; give one above 0 K.")
    if energies.isnan().any() or (energies == -math.inf).any():
        raise ConfGFError("An energy is NaN or -inf; give +inf for a conformation that has none.")
    per_kT = torch.zeros_like(energies).where(energies.isfinite(), energies)
    per_kT = energies / kT(temperature) if temperature < math.inf else torch.where(energies.isfinite(), 0.0, energies)
    if lengths is not None:
        if not (lengths > 0).all():
            raise ConfGFError("A length is not above 0; give the number of residues or atoms of each molecule.")
        per_kT = per_kT / lengths.sqrt()[:, None]
    return torch.softmax(-per_kT, -1).nan_to_num(nan=0.0)  # where all are +inf


def eba_loss(model_energies: Tensor, energies: Tensor, *, temperature: float, alpha: float = 1.0, lengths: Tensor | None = None) -> Tensor:
    """Energy-based alignment: the cross-entropy of the Boltzmann factors with those of the model (Lu et al. 2025, arXiv:2505.24203).

    ``-1/B sum_b sum_k softmax_k(-E_bk / RT) log softmax_k(-alpha E_theta,bk)``. It is least where the model's energies are those of the
    force field in units of kT / alpha, up to a constant of each molecule: no partition function is needed.

    Parameters
    ----------
    model_energies : Tensor, (B, K)
        ``E_theta``, in nats where alpha is 1: -log q of a density, or the denoising error that bounds it.
    energies : Tensor, (B, K)
        kJ/mol; +inf for a conformation that must not be.
    temperature : float
        K.
    alpha : float
    lengths : Tensor, (B,), optional
        As in `boltzmann_target`.

    Returns
    -------
    Tensor, ()
        In nats; rows without a finite energy are left out, and without any row it is 0.

    Raises
    ------
    ConfGFError
        As in `boltzmann_target`; or if the shapes differ, or are not of at least two conformations each.

    Examples
    --------
    A model that is right has the entropy of the target:

    >>> energies = torch.tensor([[0.0, 1.7289]])
    >>> round(eba_loss(energies / kT(300.0), energies, temperature=300.0).item(), 4)
    0.6365
    """
    _check_pair(model_energies, energies)
    target = boltzmann_target(energies, temperature=temperature, lengths=lengths).to(model_energies)
    each = -(target * F.log_softmax(-alpha * model_energies, -1)).sum(-1)
    known = energies.isfinite().any(-1)
    return each[known].sum() / max(1, int(known.sum()))


def dpo_loss(model_energies: Tensor, energies: Tensor, *, alpha: float = 1.0, reference_energies: Tensor | None = None) -> Tensor:
    """Direct preference optimisation between pairs, the lower energy being preferred (Rafailov et al. 2023, arXiv:2305.18290).

    ``-log sigmoid(-alpha/2 [(E_w - E_l) - (E_w,ref - E_l,ref)])`` with the denoising errors E of winner and loser, as in diffusion models
    (Wallace et al. 2024, arXiv:2311.12908) and Lu et al. 2025. Without a reference and with twice the alpha it is `eba_loss` of two
    conformations at 0 K.

    Parameters
    ----------
    model_energies : Tensor, (B, 2)
    energies : Tensor, (B, 2)
        kJ/mol. Pairs of equal energies say nothing, and are left out.
    alpha : float
    reference_energies : Tensor, (B, 2), optional
        Of a frozen model, which the aligned one is kept near to.

    Returns
    -------
    Tensor, ()
        The mean over the pairs that say something, in nats; 0 without any.

    Raises
    ------
    ConfGFError
        If the shapes are not (B, 2), or an energy is NaN.
    """
    _check_pair(model_energies, energies)
    if energies.shape[1] != 2:
        raise ConfGFError(f"There are {energies.shape[1]} conformations of each molecule; preferences are between 2.")
    if energies.isnan().any():
        raise ConfGFError("An energy is NaN; give +inf for a conformation that has none.")
    relative = model_energies if reference_energies is None else model_energies - reference_energies
    sign = torch.sign(energies[:, 1] - energies[:, 0]).nan_to_num(nan=0.0).to(relative)  # +1 where the first wins
    each = -F.logsigmoid(-0.5 * alpha * sign * (relative[:, 0] - relative[:, 1]))
    return (each * sign.abs()).sum() / sign.abs().sum().clamp_min(1)


def effective_winners(target: Tensor) -> Tensor:
    """How many conformations share the target of each molecule, ``exp(-sum_k p_k log p_k)``: 1 where one takes all.

    Parameters
    ----------
    target : Tensor, (B, K)
        Probabilities, as of `boltzmann_target`.

    Returns
    -------
    Tensor, (B,)
        1 to K.

    Examples
    --------
    >>> effective_winners(torch.tensor([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]]))
    tensor([2., 1.])
    """
    return torch.exp(-torch.xlogy(target, target).sum(-1))


def _check_pair(model_energies: Tensor, energies: Tensor) -> None:
    if model_energies.shape != energies.shape or model_energies.ndim != 2 or model_energies.shape[1] < 2:
        raise ConfGFError(
            f"The model's energies have shape {tuple(model_energies.shape)} and those of the force field {tuple(energies.shape)}; "
            "give (B, K) of both, with at least two conformations of each molecule."
        )

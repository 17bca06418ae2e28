"""What a language model is trained on, in nats a token, and how logits become probabilities.

A link is a positive function s; p_i = s(z_i) / sum s(z_j). Every one is taken as a softmax of its
log scores, log s(z), in float32 or wider: a sum over V in bfloat16 loses the third digit.

B batch   T positions   V vocabulary
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

Link = Literal["softmax", "stablemax", "taylor"]
NEAR = 8.0  # |z| up to which the Taylor polynomial is summed as it stands; its log form takes over


def cross_entropy(logits: Tensor, targets: Tensor, link: Link = "softmax") -> Tensor:
    """Mean of -log p[target]: logits [B, T, V], targets [B, T] -> scalar, nats."""
    return F.cross_entropy(log_scores(logits, link).flatten(0, 1), targets.flatten())


def log_scores(logits: Tensor, link: Link) -> Tensor:
    """log s(z) up to a constant, same shape: what a softmax makes the link's probabilities of."""
    z = logits if logits.dtype == torch.float64 else logits.float()
    match link:
        case "softmax":
            return z
        case "stablemax":
            return log_stable(z)
        case "taylor":
            return log_taylor(z)


def log_stablemax(logits: Tensor) -> Tensor:
    """log p under StableMax, over the last axis."""
    return log_scores(logits, "stablemax").log_softmax(dim=-1)


def log_taylor_softmax(logits: Tensor) -> Tensor:
    """log p under the second-order Taylor softmax, over the last axis."""
    return log_scores(logits, "taylor").log_softmax(dim=-1)


def log_stable(z: Tensor) -> Tensor:
    """log s(z): log(1 + z) for z >= 0, -log(1 - z) below.

    Source: Prieto et al. 2025 (arXiv 2501.04697), section 4. Departures: the log of it, so that no
    logit overflows and float64 is not needed; each branch sees its own side only, for the other
    one's slope is NaN at z = 1 or -1.
    """
    return torch.where(z >= 0, z.clamp(min=0).log1p(), -(-z).clamp(min=0).log1p())


def log_taylor(z: Tensor) -> Tensor:
    """log(1 + z + z^2 / 2), the order at which every score is positive: 1/2 or more.

    Source: de Brebisson and Vincent 2016 (arXiv 1511.05042). Departure: beyond |z| = 8 as 2 log|z|
    - log 2 + log(1 + 2/z + 2/z^2), which does not overflow. Not monotone: below z = -1 a smaller
    logit is likelier again.
    """
    near, far = z.clamp(-NEAR, NEAR), torch.where(z < 0, z.clamp(max=-NEAR), z.clamp(min=NEAR))
    small = (near + near * near / 2).log1p()
    large = 2 * (far.abs() / 2**0.5).log() + ((2 + 2 / far) / far).log1p()
    return torch.where(z.abs() <= NEAR, small, large)


def fitted_temperature(logits: Tensor, targets: Tensor) -> float:
    """The T at which a softmax of logits / T loses least: logits [N, V], targets [N].

    The loss is convex in 1/T: Newton's steps on it, halved where they overshoot.
    """
    z = logits.double()
    z = z - z.gather(-1, targets.unsqueeze(-1))  # loss = mean logsumexp(z / T)
    inverse = 1.0 / max(1.0, z.abs().max().item() / 10)
    for _ in range(100):
        p = (inverse * z).softmax(dim=-1)
        slope = (p * z).sum(-1)
        curve = ((p * z * z).sum(-1) - slope * slope).mean().item()
        step = slope.mean().item() / max(curve, 1e-12)
        inverse = max(inverse / 2, min(inverse - step, 2 * inverse))
        if abs(step) < 1e-9 * inverse:
            break
    return 1 / inverse

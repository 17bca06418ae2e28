"""What a network says of a bar, what that costs, and what several networks say together.

Every head starts at zero, and then says exactly what the tokeniser's prior says.
S seeds, B windows, T bars, C model width, H horizons, K bins, J targets: the tokens of each
horizon's return, then of its variance where that is taught.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from forecaster.bars import Floats
from forecaster.config import LearnerConfig
from forecaster.distributions import LocationScale, SkewT
from forecaster.learner.windows import UNSCORED, Batch
from forecaster.tokens import FEWEST_MASS, BarTokenizer, smooth_basis

Said = Tensor  # what `forward` returned, [..., J, K] or [..., H, 3]


class BinHead(nn.Module):
    """Corrections l to the masses w of bins: p[k] = w[k] exp(l[k]) / sum of the same.

    The tilt l is free (`categorical`) or a combination of a few smooth functions (`low_rank`).
    """

    log_mass: Tensor  # [J, K]
    basis: Tensor  # [J, R, K] rows of the tilts that can be said; the identity for a free one
    coupling: Tensor  # [K, K] P(return bin | variance bin) one bar ahead; empty for none

    def __init__(self, width: int, tokenizer: BarTokenizer, learner: LearnerConfig) -> None:
        super().__init__()
        self.horizons = tokenizer.horizons
        basis = tilts(tokenizer, learner)
        mass = torch.from_numpy(tokenizer.target_masses()).clamp_min(FEWEST_MASS)
        variance = tokenizer.variance
        table = (variance and variance.coupling) or ()
        self.register_buffer("basis", basis)
        self.register_buffer("log_mass", mass.log().float())
        self.register_buffer("coupling", torch.tensor(table, dtype=torch.float64), persistent=False)
        self.returns = silent(width, basis[: len(self.horizons)])
        self.variances = silent(width, basis[len(self.horizons) :]) if variance else None

    def forward(self, hidden: Tensor) -> Tensor:
        """[..., C] -> tilts [..., J, K] in nats."""
        heads = [head for head in (self.returns, self.variances) if head is not None]
        weights = torch.cat([head(hidden) for head in heads], dim=-1)
        weights = weights.unflatten(-1, self.basis.shape[:2])
        return torch.einsum("...jr,jrk->...jk", weights.float(), self.basis)

    def log_probability(self, tilt: Tensor) -> Tensor:
        """Tilts [..., J, K] -> log probabilities of the bins."""
        return (tilt + self.log_mass).log_softmax(dim=-1)

    def loss(self, said: Tensor, batch: Batch, skip: int) -> Tensor:
        """Mean cross-entropy in nats of the known tokens after the first `skip` bars."""
        log_p = self.log_probability(said[:, skip:]).flatten(0, -2)
        targets = batch.targets[:, skip:].flatten()
        return functional.nll_loss(log_p, targets, ignore_index=UNSCORED)

    @torch.no_grad()
    def untaught_loss(self, batch: Batch, skip: int) -> float:
        """`loss` of no tilt at all, without making one: the prior alone on the same targets."""
        log_p, targets = self.log_mass.log_softmax(dim=-1), batch.targets[:, skip:]
        known = targets.clamp_min(0)
        each = log_p[torch.arange(len(log_p)), known]
        return -float(each[targets != UNSCORED].mean())

    def pooled(self, said: Tensor, learner: LearnerConfig) -> Floats:
        """Tilts [S, B, J, K] -> weights of the return bins [B, H, K], not normalised.

        Seeds are pooled as probabilities, returns and variances alike. One bar ahead the pooled
        variance is read through the coupling, sum over q of p(q) P(r | q), and bent by the mean
        of the seeds' tilts.
        """
        said, h = said.double(), len(self.horizons)
        returns = said[:, :, :h] * shrinkage(learner, self.horizons)[:, None]
        p = (returns + self.log_mass[:h]).softmax(dim=-1).mean(dim=0)
        if self.coupling.numel():
            j = self.horizons.index(1)
            sizes = learner.variance_shrink * said[:, :, h + j] + self.log_mass[h + j]
            mixed = sizes.softmax(dim=-1).mean(dim=0) @ self.coupling
            p[:, j] = mixed * returns[:, :, j].mean(dim=0).exp()
        return p.numpy()


class ShapeHead(nn.Module):
    """Corrections to a Student-t's location, scale and tails; a skew stays the prior's.

    loc + a, scale exp(b), 2 + (df - 2) exp(c), for a return in units of the prior's scale.
    """

    shape: Tensor  # [4, H] loc, standard deviation, skew, df

    def __init__(self, width: int, tokenizer: BarTokenizer, _: LearnerConfig) -> None:
        super().__init__()
        self.horizons = tokenizer.horizons
        shape = hansen_shape(tokenizer.prior.base())
        self.register_buffer("shape", torch.from_numpy(shape).float())
        self.returns = silent(width, torch.zeros(len(self.horizons), 3, 1))

    def forward(self, hidden: Tensor) -> Tensor:
        """[..., C] -> corrections (a, b, c) [..., H, 3]."""
        return self.returns(hidden).unflatten(-1, (len(self.horizons), 3)).float()

    def loss(self, said: Tensor, batch: Batch, skip: int) -> Tensor:
        """Mean negative log density in nats of the known returns after the first `skip` bars."""
        z, said = batch.returns[:, skip:], said[:, skip:]
        known = z.isfinite()
        log_density = skew_t_log_density(z.nan_to_num(), self.corrected(said))
        return -log_density[known].mean()

    @torch.no_grad()
    def untaught_loss(self, batch: Batch, skip: int) -> float:
        """`loss` of no correction: the prior alone on the same targets."""
        return float(self.loss(torch.zeros(*batch.returns.shape, 3), batch, skip))

    def corrected(self, said: Tensor) -> Tensor:
        """[..., H, 3] -> loc, scale, skew, df [4, ..., H]."""
        loc, scale, skew, df = self.shape.to(said.dtype)
        a, b, c = said.unbind(dim=-1)
        tails = 2 + (df - 2) * c.exp()
        return torch.stack((loc + a, scale * b.exp(), skew.expand_as(a), tails))

    def pooled(self, said: Tensor, learner: LearnerConfig) -> Floats:
        """Corrections [S, B, H, 3] -> loc, scale, skew, df [B, H, 4] by the mean of the seeds'."""
        heard = said.double().mean(dim=0) * shrinkage(learner, self.horizons)[:, None]
        return self.corrected(heard).movedim(0, -1).numpy()


def build_head(width: int, tokenizer: BarTokenizer, learner: LearnerConfig) -> BinHead | ShapeHead:
    """The learner's head, untaught."""
    head = ShapeHead if learner.head == "student_t" else BinHead
    return head(width, tokenizer, learner)


def silent(width: int, basis: Tensor) -> nn.Linear:
    """One weight for each of [J, R, ...], all zero."""
    head = nn.Linear(width, basis.shape[0] * basis.shape[1])
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def shrinkage(learner: LearnerConfig, horizons: tuple[int, ...]) -> Tensor:
    """[H] what counts of a correction: a history holds h times fewer targets of h bars."""
    return learner.shrink / torch.tensor(horizons, dtype=torch.float64)


def tilts(tokenizer: BarTokenizer, learner: LearnerConfig) -> Tensor:
    """[J, R, K] float32."""
    if learner.head == "categorical":
        targets, bins = tokenizer.target_masses().shape
        return torch.eye(bins).repeat(targets, 1, 1)
    laws = [(tokenizer.prior.base(), np.array(tokenizer.return_edges))]
    if tokenizer.variance is not None:
        laws.append((tokenizer.variance.base(), np.array(tokenizer.variance.edges)))
    smooth = np.concatenate([smooth_basis(base, edges, learner.basis) for base, edges in laws])
    return torch.from_numpy(smooth).float().mT.contiguous()


def hansen_shape(base: LocationScale) -> Floats:
    """[4, H] loc, standard deviation, skew, df of a prior's shape, a StudentT or a SkewT."""
    if isinstance(base, SkewT):
        return np.concatenate((base.loc, base.scale, base.skew, base.df))
    loc, scale, df = base.loc, base.scale, vars(base)["df"]
    return np.concatenate((loc, scale * np.sqrt(df / (df - 2)), np.zeros_like(loc), df))


def skew_t_log_density(z: Tensor, shape: Tensor) -> Tensor:
    """z [..., H], shape [4, ..., H] -> nats. Source: Hansen (IER 1994), eq. 10-13."""
    loc, scale, skew, df = shape
    log_c = torch.lgamma((df + 1) / 2) - torch.lgamma(df / 2) - 0.5 * (torch.pi * (df - 2)).log()
    a = 4 * skew * log_c.exp() * (df - 2) / (df - 1)
    b = (1 + 3 * skew**2 - a**2).sqrt()
    x = b * (z - loc) / scale + a
    side = torch.where(x < 0, 1 - skew, 1 + skew)
    tail = (df + 1) / 2 * torch.log1p((x / side) ** 2 / (df - 2))
    return log_c + b.log() - scale.log() - tail

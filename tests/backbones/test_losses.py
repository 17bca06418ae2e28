"""The links from logits to probabilities: against their definitions in float64, and at the ends."""

import math

import pytest
import torch
from torch import Tensor

from backbones import losses
from backbones.losses import (
    Link,
    cross_entropy,
    fitted_temperature,
    log_scores,
    log_stablemax,
    log_taylor_softmax,
)

LINKS: list[Link] = ["softmax", "stablemax", "taylor"]
EXTREMES = [0.0, 1.0, -1.0, 8.0, -8.0, 1e4, -1e4, 1e18, -1e18, 1e-7, 3.0]


def scores_by_definition(z: Tensor, link: Link) -> Tensor:
    """s(z) in float64, as the papers write it."""
    z = z.double()
    if link == "softmax":
        return z.exp()
    if link == "stablemax":
        return torch.where(z >= 0, z + 1, 1 / (1 - z.clamp(max=0)))
    return 1 + z + z * z / 2


def log_probabilities(z: Tensor, link: Link) -> Tensor:
    return log_scores(z, link).log_softmax(dim=-1)


@pytest.mark.parametrize("link", LINKS)
def test_probabilities_are_the_definitions(link: Link) -> None:
    z = 6 * torch.randn(200, 65)
    s = scores_by_definition(z, link)
    wanted = (s / s.sum(-1, keepdim=True)).log()
    torch.testing.assert_close(log_probabilities(z, link).double(), wanted, rtol=0, atol=5e-6)
    exact = log_probabilities(z.double(), link)
    torch.testing.assert_close(exact, wanted, rtol=0, atol=1e-13)


def test_the_two_by_name() -> None:
    z = torch.randn(3, 5)
    assert torch.equal(log_stablemax(z), log_probabilities(z, "stablemax"))
    assert torch.equal(log_taylor_softmax(z), log_probabilities(z, "taylor"))


def test_planted_another_link_is_found_out() -> None:
    z = 6 * torch.randn(200, 65)
    s = scores_by_definition(z, "stablemax")
    wanted = (s / s.sum(-1, keepdim=True)).log()
    assert (log_probabilities(z, "taylor").double() - wanted).abs().max() > 0.1


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_probabilities_sum_to_one(link: Link, dtype: torch.dtype) -> None:
    z = (10 * torch.randn(50, 65)).to(dtype)
    logs = log_probabilities(z, link)
    assert logs.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(logs.exp().sum(-1), torch.ones_like(logs[:, 0]), rtol=0, atol=2e-5)


@pytest.mark.parametrize("link", LINKS)
def test_the_loss_at_zero_logits_is_that_of_a_guess(link: Link) -> None:
    loss = cross_entropy(torch.zeros(2, 3, 65), torch.ones(2, 3, dtype=torch.int64), link)
    assert loss.item() == pytest.approx(math.log(65), abs=1e-6)


@pytest.mark.parametrize("link", ["stablemax", "taylor"])
def test_values_and_slopes_are_finite_at_the_ends(link: Link) -> None:
    z = torch.tensor([EXTREMES], requires_grad=True)
    logs = log_probabilities(z, link)
    assert logs.isfinite().all()
    for target in range(len(EXTREMES)):
        (slope,) = torch.autograd.grad(logs[0, target], z, retain_graph=True)
        assert slope.isfinite().all(), EXTREMES[target]


def test_slopes_never_vanish_where_a_softmax_has_none() -> None:
    """At a gap of 2e4 the softmax has no gradient left; the two others still learn."""
    z = torch.tensor([[1e4, -1e4, 0.5]], requires_grad=True)
    for link, alive in (("softmax", False), ("stablemax", True), ("taylor", True)):
        loss = -log_probabilities(z, link)[0, 0]  # type: ignore[arg-type]
        (slope,) = torch.autograd.grad(loss, z)
        assert bool(slope[0, 0] != 0) == alive, link


@pytest.mark.parametrize("z", [0.0, 1.0, -1.0, 7.999, 8.001, -7.999, -8.001, 1e4, -1e4, 0.3])
@pytest.mark.parametrize("link", ["stablemax", "taylor"])
def test_slopes_are_finite_differences(link: Link, z: float) -> None:
    x = torch.tensor([z], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(log_scores(x, link).sum(), x)
    h = 1e-6 * max(1.0, abs(z))
    ends = log_scores(torch.tensor([z + h, z - h], dtype=torch.float64), link)
    assert slope.item() == pytest.approx(((ends[0] - ends[1]) / (2 * h)).item(), rel=1e-4, abs=1e-9)


@pytest.mark.parametrize(("z", "wanted"), [(0.0, 1.0), (3.0, 0.25), (-3.0, 0.25)])
def test_stablemax_has_its_closed_slope(z: float, wanted: float) -> None:
    """d log s / dz = 1 / (1 + |z|), at 0 too, where sign(z) log1p(|z|) would have none."""
    x = torch.tensor([z], requires_grad=True)
    (slope,) = torch.autograd.grad(log_scores(x, "stablemax").sum(), x)
    assert slope.item() == pytest.approx(wanted)
    (flat,) = torch.autograd.grad((x.sign() * x.abs().log1p()).sum(), x)
    assert (flat.item() == 0) == (z == 0)


def test_planted_branches_that_see_the_whole_line() -> None:
    """Without the clamps, the branch that is not taken poisons the slope: NaN at z = 1."""
    x = torch.tensor([1.0], requires_grad=True)
    careless = torch.where(x >= 0, (1 + x).log(), -(1 - x).log())
    (slope,) = torch.autograd.grad(careless.sum(), x)
    assert slope.isnan().all()
    (ours,) = torch.autograd.grad(losses.log_stable(x).sum(), x)
    assert ours.item() == pytest.approx(0.5)


def test_taylor_is_not_monotone() -> None:
    """A logit below -1 gains probability again: a known property, not an accident here."""
    scores = log_scores(torch.tensor([-1.0, -3.0, -9.0]), "taylor")
    assert scores[0] < scores[1] < scores[2]
    torch.testing.assert_close(scores[0], torch.tensor(0.5).log())


@pytest.mark.parametrize("true", [0.25, 1.0, 4.0])
def test_the_temperature_that_made_the_targets_is_found(true: float) -> None:
    logits = 3 * torch.randn(20_000, 9)
    draw = torch.Generator().manual_seed(1)
    targets = torch.multinomial((logits / true).softmax(-1), 1, generator=draw).squeeze(1)
    found = fitted_temperature(logits, targets)
    assert found == pytest.approx(true, rel=0.05)
    loss = {t: cross_entropy(logits[None] / t, targets[None]).item() for t in (0.98, 1.0, 1.02)}
    at = {t: cross_entropy(logits[None] / (t * found), targets[None]).item() for t in loss}
    assert at[1.0] == min(at.values())

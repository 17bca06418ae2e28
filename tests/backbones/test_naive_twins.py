"""Every attention branch against loops straight from the equations: forward and gradient, 1e-10.

One vector at a time, maps as T x T matrices, integrals as double sums. The loops read parameters by
name and call nothing of the package.

T positions   C model width   H heads   G key/value heads   M maps a head   K key sets a head
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import laws
import pytest
import torch
from torch import Tensor
from variants import VARIANTS

from backbones.attention import Attention, LayerCache
from backbones.config import BackboneConfig

LENGTH = 6


@dataclass
class Branch:
    """A branch's config, depth and parameters, and the sizes that its rule has in the papers."""

    config: BackboneConfig
    depth: int
    p: dict[str, Tensor]

    @property
    def heads(self) -> int:
        return self.config.n_heads // (2 if self.config.contrast == "v1" else 1)

    @property
    def groups(self) -> int:
        return self.config.n_kv_heads // (2 if self.config.contrast == "v1" else 1)

    @property
    def maps(self) -> int:
        return 1 if self.config.contrast == "none" else 2

    @property
    def key_sets(self) -> int:
        return 2 if self.config.contrast == "v1" else 1

    @property
    def value_dim(self) -> int:
        return self.config.value_dim * self.key_sets

    def linear(self, name: str, x: Tensor) -> Tensor:
        y = self.p[f"{name}.weight"] @ x
        return y + self.p[f"{name}.bias"] if f"{name}.bias" in self.p else y

    def narrow(self, name: str, x: Tensor) -> Tensor:
        """Down, then RMSNorm with eps 1e-6, or on the sphere length one."""
        y = self.linear(f"{name}.down", x)
        if self.config.on_sphere:
            return y / y.norm()
        return self.p[f"{name}.norm.gain"] * y / (y.square().mean() + 1e-6).sqrt()


def turned(config: BackboneConfig, x: Tensor, position: int) -> Tensor:
    """Each pair turned by its angle, as a complex number."""
    if config.positions != "rope":
        return x
    half, out = len(x) // 2, [torch.zeros(())] * len(x)
    for i in range(half):
        one, other = (2 * i, 2 * i + 1) if config.rope_layout == "interleaved" else (i, i + half)
        angle = position * config.rope_base ** (-2 * i / len(x))
        cos, sin = math.cos(angle), math.sin(angle)
        out[one] = x[one] * cos - x[other] * sin
        out[other] = x[one] * sin + x[other] * cos
    return torch.stack(out)


def normed(config: BackboneConfig, x: Tensor) -> Tensor:
    match config.qk_norm:
        case "none":
            return x
        case "rms":
            return x / (x.square().mean() + config.norm_eps).sqrt()
        case _:
            return x / x.norm()


def gain(b: Branch, name: str, head: int, which: int, sets: int, width: int) -> Tensor | float:
    """s of one vector; stored at 1/sqrt(C)."""
    config, norm = b.config, "projection.norm"
    if config.qk_norm == "rms":
        return b.p[f"{norm}.{name}.gain"]
    if config.qk_norm == "none" and config.scheme != "ngpt":
        return 1.0
    if f"{norm}.{name}.raw" not in b.p:  # queries and keys share theirs
        name = "q"
    raw = b.p[f"{norm}.{name}.raw"] * config.d_model**0.5
    if config.qk_norm == "standard":
        sets, which = 1, 0
    if config.scheme == "ngpt_simple":
        return raw[which]
    at = (head * sets + which) * width
    return raw[at : at + width]


def scale(b: Branch) -> float:
    config, d = b.config, b.config.query_dim
    if config.qk_norm in {"standard", "split"}:
        return math.sqrt(d)
    if config.qk_norm == "rms" or not config.on_sphere:
        return 1 / math.sqrt(d)
    if config.latent is None:
        return config.d_model / math.sqrt(d)
    return math.sqrt((config.latent.query_rank or config.d_model) * config.latent.rank / d)


def query(b: Branch, x: Tensor, head: int, which: int, position: int) -> Tensor:
    config, d = b.config, b.config.query_dim
    if config.latent is not None and config.latent.query_rank is not None:
        x = b.narrow("projection.query_latent", x)
    at = (head * b.maps + which) * d
    q = b.linear("projection.q", x)[at : at + d]
    q = normed(config, q) * gain(b, "q", head, which, b.maps, d)
    stays = 0 if config.latent is None else config.latent.nope_dim
    return torch.cat((q[:stays], turned(config, q[stays:], position)))


def key_value(b: Branch, x: Tensor, group: int, which: int, position: int) -> tuple[Tensor, Tensor]:
    config, e = b.config, b.value_dim
    if config.latent is None:
        d = config.query_dim
        at = (group * b.key_sets + which) * d
        k = normed(config, b.linear("projection.k", x)[at : at + d])
        k = turned(config, k * gain(b, "k", group, which, b.key_sets, d), position)
        return k, b.linear("projection.v", x)[group * e : (group + 1) * e]
    n, c = config.latent.nope_dim, b.narrow("projection.latent", x)
    at = (group * b.key_sets + which) * n
    turning = b.linear("projection.turning_k", x)
    if config.on_sphere:
        turning = turning * math.sqrt(config.d_model / config.latent.rank)
    k = normed(config, torch.cat((b.linear("projection.k", c)[at : at + n], turning)))
    stays = k[:n] * gain(b, "k", group, which, b.key_sets, n)
    turns = k[n:] * gain(b, "shared", 0, 0, 1, config.latent.rope_dim)
    v = b.linear("projection.v", c)[group * e : (group + 1) * e]
    return torch.cat((stays, turned(config, turns, position))), v


def softmax_map(b: Branch, x: Tensor, head: int, which: int) -> Tensor:
    """[T, T], row by row."""
    group, rows = head // (b.heads // b.groups), []
    for i in range(len(x)):
        q = query(b, x[i], head, which, i)
        keys = [key_value(b, x[j], group, which % b.key_sets, j)[0] for j in range(i + 1)]
        e = torch.stack([(scale(b) * q @ k).exp() for k in keys])
        rows.append(torch.cat((e / e.sum(), e.new_zeros(len(x) - i - 1))))
    return torch.stack(rows)


def prefix(a: Tensor) -> Tensor:
    """G[i, j] = (1/(i+1)) sum over m = j..i of A[m, j]."""
    return by_entry(a, lambda i, j: a[j : i + 1, j].sum() / (i + 1))


def visible(a: Tensor) -> Tensor:
    """G[i, j] = (1/(i-j+1)) sum over m = j..i of A[m, j], rows brought to sum one."""
    g = by_entry(a, lambda i, j: a[j : i + 1, j].sum() / (i - j + 1))
    return g / g.sum(dim=1, keepdim=True)


def by_entry(a: Tensor, entry: Callable[[int, int], Tensor]) -> Tensor:
    n = len(a)
    rows = [[entry(i, j) if j <= i else a.new_zeros(()) for j in range(n)] for i in range(n)]
    return torch.stack([torch.stack(row) for row in rows])


def lam(b: Branch, x: Tensor, head: int) -> Tensor:
    """A scalar, or one a position [T, 1]."""
    config = b.config
    if config.contrast == "v1":
        stored = 0.1 * math.sqrt(config.d_model) if config.on_sphere else 1.0
        q1, k1, q2, k2 = (b.p[f"rule.lam.{n}"] * stored for n in ("q1", "k1", "q2", "k2"))
        lam_init = 0.8 - 0.6 * math.exp(-0.3 * b.depth)
        return (q1 @ k1).exp() - (q2 @ k2).exp() + lam_init
    score = torch.stack([b.p["rule.lam.gate.weight"][head] @ row for row in x])
    if config.on_sphere:
        score = score * math.sqrt(config.d_model)
    if config.scheme == "ngpt":
        score = score * b.p["rule.lam.gain.scale.raw"][head] + b.p["rule.lam.bias"][head]
    return (1 / (1 + (-score).exp())).unsqueeze(-1)


def effective_map(b: Branch, x: Tensor, head: int) -> Tensor:
    """The [T, T] matrix that a head reads its values through."""
    first = softmax_map(b, x, head, 0)
    if b.config.contrast == "none":
        return first
    weight, a = lam(b, x, head), first - lam(b, x, head) * softmax_map(b, x, head, 1)
    match b.config.integral:
        case "none":
            return a
        case "prefix":
            return a + weight * prefix(first)
        case "visible":
            return a + weight * visible(first)


def naive(b: Branch, x: Tensor) -> Tensor:
    """One sequence [T, C] -> [T, C]."""
    config, heads = b.config, []
    for head in range(b.heads):
        group = head // (b.heads // b.groups)
        v = torch.stack([key_value(b, x[j], group, 0, j)[1] for j in range(len(x))])
        out = effective_map(b, x, head) @ v
        if config.contrast == "v1" and not config.on_sphere:
            rms = (out.square().mean(dim=-1, keepdim=True) + config.norm_eps).sqrt()
            out = b.p["rule.norm.gain"] * out / rms
            if config.integral == "none":
                out = (0.2 + 0.6 * math.exp(-0.3 * b.depth)) * out
        elif config.contrast == "v1" and config.integral == "none":
            out = out / out.norm(dim=-1, keepdim=True)
        heads.append(out)
    return torch.stack([b.linear("out", row) for row in torch.cat(heads, dim=-1)])


def branch_of(config: BackboneConfig, depth: int) -> tuple[Attention, Branch]:
    attention = laws.sharpened(config).backbone.blocks[depth].get_submodule("attention")
    assert isinstance(attention, Attention)
    return attention, Branch(config, depth, dict(attention.named_parameters()))


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
def test_attention_is_the_loops(config: BackboneConfig) -> None:
    attention, branch = branch_of(config, depth=1)
    x = torch.randn(1, LENGTH, config.d_model, dtype=torch.float64)
    if config.on_sphere:
        x = x / x.norm(dim=-1, keepdim=True)
    x.requires_grad_()
    ours, theirs = attention(x, LayerCache()), naive(branch, x[0])
    torch.testing.assert_close(ours[0], theirs, rtol=0, atol=1e-10)
    weight = torch.randn_like(theirs)
    inputs = [x, *branch.p.values()]
    by_us = torch.autograd.grad((ours[0] * weight).sum(), inputs)
    by_loops = torch.autograd.grad((theirs * weight).sum(), inputs)
    for name, one, other in zip(["x", *branch.p], by_us, by_loops, strict=True):
        torch.testing.assert_close(
            one, other, rtol=1e-10, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize(
    ("preset", "change"),
    [
        ("diff_v1", {"integral": "prefix"}),
        ("dint_v1", {"integral": "visible"}),
        ("dint_v2", {"integral": "prefix"}),
        ("ngpt", {"qk_norm": "rms"}),
        ("dint_ngpt_no_qk_norm", {"scheme": "ngpt_simple"}),
        ("mla", {"rope_layout": "interleaved"}),
    ],
)
def test_planted_the_loops_of_another_variant(preset: str, change: dict[str, str]) -> None:
    config = VARIANTS[preset]
    attention, branch = branch_of(config, depth=1)
    x = torch.randn(1, LENGTH, config.d_model, dtype=torch.float64)
    ours = attention(x, LayerCache())[0]
    other = config.replace(**change)
    branch.p |= {
        name: value
        for name, value in branch_of(other, depth=1)[1].p.items()
        if name not in branch.p
    }
    branch.config = other
    assert (ours - naive(branch, x[0])).abs().max() > 1e-4

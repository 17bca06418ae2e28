"""Ways to write attention: softmax, DIFF's two maps, DINT's means. Only ours is fast and small.

B batch   T positions   H heads   D query width   E value width   S keys
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..attention.fused import Masking, direct, padded, sliced
from ..attention.integral import prefix_mean, visible_mean, visible_rows
from ..attention.kernel import Reading, attend, over_heads, weights
from ..attention.layout import Heads
from ..past import LayerCache
from .cases import Case, Check, Scale, Way

LAM = 0.3
EQUAL = Check(of="outputs", limit=1e-4)
Forward = Callable[[Tensor, Tensor, Tensor], Tensor]


def differentiated(name: str, forward: Forward, qkv: tuple[Tensor, ...], slope: Tensor) -> Way:
    """A way from q, k, v to heads [B, H, T, E]: what it gives, and the slopes of a fixed sum."""

    def run() -> list[Tensor]:
        out = forward(*qkv)
        return [out, *torch.autograd.grad(out, qkv, slope)]

    return Way(name=name, run=run)


def built(scale: Scale, length: int, maps: int, ways: dict[str, Forward]) -> list[Way]:
    """The ways over one drawing of q, k [B, H, M, T, D] and v [B, H, 1, T, M D]."""
    batch, heads, d = scale.batch_of(length), scale.n_heads // maps, scale.head_dim
    shapes = [(maps, d), (maps, d), (1, maps * d)]
    qkv = tuple(
        torch.randn(batch, heads, sets, length, width, requires_grad=True) for sets, width in shapes
    )
    slope = torch.randn(batch, heads, length, maps * d)
    return [differentiated(name, forward, qkv, slope) for name, forward in ways.items()]


def over_lengths(maps: int, ways: dict[str, Forward]) -> Callable[[Scale], list[Case]]:
    """A case a length."""

    def cases(scale: Scale) -> list[Case]:
        return [
            Case(
                label=f"T={length}",
                build=lambda length=length: built(scale, length, maps, ways),
                check=EQUAL,
            )
            for length in scale.lengths
        ]

    return cases


def scale_of(q: Tensor) -> float:
    """1/sqrt(D)."""
    return q.shape[-1] ** -0.5


def fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """One map, by the fused call."""
    return attend(q, k, v, scale=scale_of(q)).squeeze(2)


def written_out(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """One map, all T x S of it."""
    return (weights(q, k, scale=scale_of(q)) @ v).squeeze(2)


def contrasted(reads: Tensor) -> Tensor:
    """Reads of both maps [B, H, 2, T, E] -> o_1 - lam o_2."""
    first, second = reads.unbind(dim=2)
    return first - LAM * second


def ours(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """DIFF as `rules` has it."""
    return contrasted(attend(q, k, v, scale=scale_of(q)))


def causal(q: Tensor) -> Masking:
    """As many queries as keys, none of which sees ahead."""
    return Masking(mask=None, is_causal=True, scale=scale_of(q))


def two_calls(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """A: each map on its own, values as wide as they are."""
    first, second = (direct(q[:, :, m], k[:, :, m], v[:, :, 0], causal(q)) for m in (0, 1))
    return first - LAM * second


def stacked(way: Callable[[Tensor, Tensor, Tensor, Masking], Tensor]) -> Forward:
    """Both maps as heads of one call: B directly, C in slices of the values, D padded."""

    def forward(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        flat = [over_heads(x, q.shape[1], 2) for x in (q, k, v)]
        reads = way(flat[0], flat[1], flat[2], causal(q))
        return contrasted(reads.unflatten(1, (-1, 2)))

    return forward


def reading_of(q: Tensor, k: Tensor, v: Tensor) -> Reading:
    """What a rule is handed, with no past; x is not read."""
    heads = Heads(q=q, k=k, v=v, lift=nn.Identity())
    return Reading(heads=heads, x=q, past=LayerCache(), start=0, scale=scale_of(q))


def running_mean(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """DINT as `rules` has it: a running mean of what the first map read."""
    reads = attend(q, k, v, scale=scale_of(q))
    return contrasted(reads) + LAM * prefix_mean(reading_of(q, k, v), reads[:, :, 0])


def dense_mean(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """DINT as it is written: one T x S map, the causal column mean of the first added to it."""
    first, second = weights(q, k, scale=scale_of(q)).unbind(dim=2)
    rows = torch.arange(1, first.shape[-2] + 1).unsqueeze(-1)
    mean = first.cumsum(dim=-2) / rows
    return (first - LAM * second + LAM * mean) @ v[:, :, 0]


def in_chunks(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The visible mean as `integral` has it: some rows of the map at a time."""
    return visible_mean(reading_of(q, k, v), v[:, :, 0])


def at_once(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The visible mean from the whole map."""
    sums = v.new_zeros(*v.shape[:2], 0)
    return visible_rows(q[:, :, :1], k[:, :, :1], v, sums, scale_of(q), None)[0]


softmax_cases = over_lengths(1, {"written out": written_out, "fused": fused})
diff_cases = over_lengths(
    2,
    {
        "ours": ours,
        "A: two calls": two_calls,
        "B: one call": stacked(direct),
        "C: values in slices": stacked(sliced),
        "D: padded": stacked(padded),
    },
)
dint_cases = over_lengths(2, {"dense": dense_mean, "running mean": running_mean})
visible_cases = over_lengths(2, {"whole map": at_once, "128 rows at a time": in_chunks})

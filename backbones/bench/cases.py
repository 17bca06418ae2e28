"""What is compared: ways to write a thing, what makes them comparable, and at which sizes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ..errors import UnequalError


def as_it_is(results: Sequence[Tensor]) -> Sequence[Tensor]:
    """The results themselves."""
    return results


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """One way to write a thing, its inputs and modules made: `run` is all that is timed."""

    name: str
    run: Callable[[], Sequence[Tensor]]  # what it computes, gradients included
    view: Callable[[Sequence[Tensor]], Sequence[Tensor]] = as_it_is  # of that, what must be equal
    parameters: int | None = None
    cached_bytes: int | None = None  # a token and layer


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """What must agree before anything is timed.

    outputs     results, gradients among them: |difference| over the largest |value| of each tensor
    parameters  their count, for functions that are not the same: the relative gap
    nothing     the counts of parameters are shown, and differ
    """

    of: Literal["outputs", "parameters", "nothing"]
    limit: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """Ways at one size; all are compared with the first."""

    label: str
    build: Callable[[], list[Way]]
    check: Check


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """The sizes of all benches."""

    d_model: int = 128
    n_layers: int = 4
    n_heads: int = 4
    vocab_size: int = 65
    context: int = 64  # of whole models
    batch: int = 12
    lengths: tuple[int, ...] = (64, 256, 1024)  # of attention alone
    tokens: int = 1024  # a batch of attention alone holds; one sequence where it is longer
    long: tuple[int, ...] = (1024, 2048, 4096)  # of the memory table
    written: int = 64  # tokens that sampling writes
    peers: tuple[tuple[int, int, int, int, int], ...] = (
        (128, 4, 4, 64, 12),
        (128, 4, 4, 256, 12),
        (384, 6, 6, 64, 12),
        (384, 6, 6, 256, 4),
    )  # d_model, n_layers, n_heads, context, batch of the models that others' are held against

    @property
    def head_dim(self) -> int:
        """Width of a query."""
        return self.d_model // self.n_heads

    @property
    def shape(self) -> str:
        """The sizes of whole models, in words."""
        return f"{self.n_layers} x {self.d_model}, {self.batch} x {self.context}"

    def shapes(self) -> list["Scale"]:
        """One scale for each of `peers`."""
        names = ("d_model", "n_layers", "n_heads", "context", "batch")
        return [replace(self, **dict(zip(names, peer, strict=True))) for peer in self.peers]

    def batch_of(self, length: int) -> int:
        """Sequences of that length to a batch."""
        return max(1, self.tokens // length)


FULL = Scale()


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One way in one case, as measured; None where a bench does not measure it."""

    bench: str
    case: str
    way: str
    against: str  # the way that ratios are taken to
    check: str | None = None
    difference: float | None = None  # what the check found
    limit: float | None = None
    rounds: int | None = None
    threads: int | None = None
    clock: str | None = None  # "CPU" or "wall"
    ms: float | None = None  # median over rounds
    ratio: float | None = None  # median over rounds of this way's time to that of `against`
    ratio_low: float | None = None  # 95 % bootstrap interval of that median
    ratio_high: float | None = None
    peak_mb: float | None = None  # held at once by one run, beyond inputs and weights; 2^20 bytes
    parameters: int | None = None
    cached_bytes: int | None = None
    steps: int | None = None
    seconds: float | None = None  # in steps, on the wall
    cpu_seconds: float | None = None
    cpu_ratio: float | None = None  # of those
    nats: float | None = None  # a character of the whole validation part
    reached: bool | None = None  # whether that is at the bar or under it; over seeds: all of them


def differences(case: Case, ways: Sequence[Way], bench: str) -> list[float]:
    """What the case's check finds of each way against the first: UnequalError above the limit."""
    first, *others = ways
    wanted = run_once(first) if case.check.of == "outputs" else ()
    found = [0.0]
    for way in others:
        match case.check.of:
            case "outputs":
                gap = relative_gap(run_once(way), wanted)
            case "parameters":
                gap = abs((way.parameters or 0) / (first.parameters or 1) - 1)
            case "nothing":
                gap = 0.0
        if not gap <= case.check.limit:
            raise UnequalError(
                f"bench {bench}, {case.label}: {way.name!r} and {first.name!r} differ in "
                f"{case.check.of} by {gap:.1e}, at most {case.check.limit:.0e} is allowed: "
                "not timed, mend one of them"
            )
        found.append(gap)
    return found


def run_once(way: Way) -> list[Tensor]:
    """What must be equal of one run, apart from the run's own tensors."""
    return [x.detach().clone() for x in way.view(way.run())]


def relative_gap(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """The largest |found - wanted| over the largest |wanted|, tensor by tensor; NaN is infinite."""
    worst = 0.0
    for a, b in zip(found, wanted, strict=True):
        if a.shape != b.shape or not torch.isfinite(a).all():
            return float("inf")
        size = max(b.abs().max().item(), torch.finfo(torch.float32).tiny)
        worst = max(worst, (a - b).abs().max().item() / size)
    return worst

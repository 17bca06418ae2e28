"""What every forecast distribution answers, and the checks that their parameters share.

N origins, H horizons, Q quantile levels. The unit of y is the target's (for log returns: 1).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import fields
from typing import Any, Self, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# The least level that `sample` draws: half the step of a uniform double, so no draw is infinite.
SMALLEST_LEVEL = 2.0**-54


class Distribution(ABC):
    """N x H distributions, checked when made. A NaN observation gives a NaN answer."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """(N, H)."""

    @abstractmethod
    def logpdf(self, y: Floats) -> Floats:
        """y [N, H] -> [N, H] log density in nats: the log score, higher is better."""

    @abstractmethod
    def cdf(self, y: Floats) -> Floats:
        """y [N, H] -> [N, H] P(Y <= y)."""

    @abstractmethod
    def ppf(self, u: Floats) -> Floats:
        """U [..., N, H] in (0, 1), or what broadcasts to it -> the least y with cdf(y) >= u."""

    @abstractmethod
    def crps(self, y: Floats) -> Floats:
        """y [N, H] -> [N, H] integral of (cdf(x) - 1{x >= y})^2 dx, unit of y, lower is better.

        Source: Gneiting and Raftery, Strictly Proper Scoring Rules (JASA 2007), section 4.2.
        """

    @abstractmethod
    def mean(self) -> Floats:
        """[N, H] expectation."""

    @abstractmethod
    def take(self, rows: NDArray[Any]) -> Self:
        """The distributions of some origins: an index or boolean array over N."""

    @abstractmethod
    def at(self, h: int) -> Self:
        """The distributions [N, 1] of the horizon in column h."""

    def tabled(self) -> "Distribution":
        """The same for millions of questions: cdf and density to 1e-13, sooner where tables are."""
        return self

    def pit(self, y: Floats) -> Floats:
        """y [N, H] -> [N, H] probability integral transform, uniform under the truth."""
        return self.cdf(y)

    def cdf_and_logpdf(self, y: Floats) -> tuple[Floats, Floats]:
        """Both at y [N, H], for searches that step by both: what they share is found once."""
        return self.cdf(y), self.logpdf(y)

    def quantile(self, levels: ArrayLike) -> Floats:
        """Levels [Q] in (0, 1) -> [N, H, Q]."""
        wanted = np.asarray(levels, dtype=np.float64)
        require((wanted > 0) & (wanted < 1), "level", wanted, "inside (0, 1)")
        n, h = self.shape
        u = np.broadcast_to(wanted[:, None, None], (len(wanted), n, h))
        return np.moveaxis(self.ppf(u), 0, -1)

    def sample(self, rng: np.random.Generator, n: int) -> Floats:
        """[n, N, H] independent draws, by inversion."""
        return self.ppf(np.maximum(rng.random((n, *self.shape)), SMALLEST_LEVEL))


Some = TypeVar("Some", bound=Distribution)


def taken(whole: Some, rows: NDArray[Any], shared: Collection[str] = ()) -> Some:
    """The distributions of some origins, with what had been worked out of them.

    Not through the constructor: what was checked and normalised once stays as it is. `shared`
    names what all origins have in common; everything else begins with the axis of origins.
    """
    out = object.__new__(type(whole))
    for name, held in vars(whole).items():
        if name in shared:
            vars(out)[name] = held
        elif isinstance(held, tuple):
            vars(out)[name] = tuple(each[rows] for each in held)
        else:
            vars(out)[name] = held[rows]
    return out


def column_of(whole: Some, h: int, **others: Any) -> Some:
    """The distributions of one column of N x H; `others` are parts that begin with other axes."""
    mine = [f.name for f in fields(cast(Any, whole)) if f.name not in others]
    parts = {name: np.ascontiguousarray(getattr(whole, name)[:, h : h + 1]) for name in mine}
    return remade(whole, **parts, **others)


def remade(whole: Some, **parts: Any) -> Some:
    """The same of other parts, which are sound: nothing is checked or kept that was worked out."""
    out = object.__new__(type(whole))
    vars(out).update({f.name: getattr(whole, f.name) for f in fields(cast(Any, whole))} | parts)
    return out


def once_a_run(f: Callable[[Floats, Floats], Floats], a: Floats, b: Floats) -> Floats:
    """F(a, b) of a [N, H] and b [..., N, H], found once for origins in a row with equal values.

    A symbol's origins share a shape, and levels are the same for all: the same bits, sooner.
    """
    shape = np.broadcast_shapes(a.shape, b.shape)
    a, b = np.broadcast_to(a, shape), np.broadcast_to(b, shape)
    new = (a[..., 1:, :] != a[..., :-1, :]) | (b[..., 1:, :] != b[..., :-1, :])
    new = new.any(axis=(*range(len(shape) - 2), -1))
    starts = np.append(0, np.flatnonzero(new) + 1)
    if 2 * len(starts) > shape[-2]:
        return f(a, b)
    found = f(a[..., starts, :], b[..., starts, :])
    return np.repeat(found, np.diff(np.append(starts, shape[-2])), axis=-2)


def at_bins(values: Floats, bins: NDArray[np.int64]) -> Floats:
    """Values [N, H, K] at bins [..., N, H], from 0 -> [..., N, H]."""
    return values.reshape(-1).take(bins + _starts(values))


def bins_of(edges: Floats, y: Floats) -> NDArray[np.int64]:
    """How many edges [N, H, K], ascending, are <= y [..., N, H]; 0 for NaN. By halving."""
    flat, before, count = edges.reshape(-1), _starts(edges) - 1, edges.shape[-1]
    found = np.zeros(y.shape, dtype=np.int64)
    step = 1 << (count.bit_length() - 1)
    while step:
        further = found + step
        reached = flat.take(before + np.minimum(further, count)) <= y
        found = np.where(reached & (further <= count), further, found)
        step >>= 1
    return found


def _starts(values: Floats) -> NDArray[np.int64]:
    """[N, H] where each row of values [N, H, K] starts."""
    n, h, k = values.shape
    return (k * np.arange(n * h)).reshape(n, h)


def require(legal: NDArray[np.bool_], name: str, values: Floats, wanted: str) -> None:
    """Raise ValueError naming the first illegal entry, its value and what is wanted instead."""
    if not np.all(legal):
        at = tuple(int(i) for i in np.argwhere(~np.asarray(legal))[0])
        raise ValueError(f"{name}{list(at)}={values[at]} is not {wanted}")


def finite(name: str, values: ArrayLike, ndim: int) -> Floats:
    """A frozen float64 copy of finite values, else ValueError."""
    array = np.array(values, dtype=np.float64)
    if array.ndim != ndim or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}: wanted {ndim} axes, none empty")
    require(np.isfinite(array), name, array, "finite")
    array.flags.writeable = False
    return array


def positive(name: str, values: ArrayLike, ndim: int) -> Floats:
    """A frozen float64 copy of finite values above zero, else ValueError."""
    array = finite(name, values, ndim)
    require(array > 0, name, array, "positive")
    return array

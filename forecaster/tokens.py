"""BarTokenizer: bars as tokens, returns as bins; fitted on a history, then frozen.

F fields of a bar (features.GEOMETRY), K bins of a return, H horizons. A value on an edge belongs to
the bin above it. Kinds (the layout of the return bins, in units of the causal scale times root h):

    scaled    bins of equal mass under the fitted Student-t, as Chronos-like models with a causal
    scale uniform   bins of equal width on [-WIDEST, WIDEST], as Ansari et al. 2024 (Chronos,
    section 3.1)

Under both, a density inside a bin has the shape of the fitted Student-t and its tails beyond the
last edge.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy.special import stdtrit

from forecaster.bars import Bars, Floats, Panel
from forecaster.distributions import Binned, StudentT, bin_masses
from forecaster.econometrics.student_t import Shape, fit_shape
from forecaster.errors import DataError
from forecaster.features import WARM_UP, Features, cumulative_return, features

Kind = Literal["scaled", "uniform"]
VERSION = 1
WIDEST = 5.0  # standardised units: the outermost edges of `uniform`
CLIP = 5.0  # standard deviations of a continuous input


class BarTokenizer(BaseModel):
    """Edges, shapes and means: what turns bars into tokens and probabilities into densities."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = VERSION
    kind: Kind
    fitted_until: str  # ISO time, UTC: the last close that the fit saw
    horizons: tuple[int, ...]
    field_edges: tuple[tuple[float, ...], ...]  # F rows of ascending edges, made unique
    field_bins: int  # ids a field: bins 0 .. field_bins-1, then MISSING
    shapes: tuple[tuple[float, float, float], ...]  # H rows of loc, scale, df of the scaled return
    return_edges: tuple[tuple[float, ...], ...]  # H rows of K-1 edges of the scaled return
    input_mean: tuple[float, ...]
    input_deviation: tuple[float, ...]

    @property
    def missing(self) -> int:
        """The id of a field that is not known."""
        return self.field_bins

    @property
    def return_bins(self) -> int:
        """K."""
        return len(self.return_edges[0]) + 1

    @property
    def digest(self) -> str:
        """sha256 of the canonical JSON: what a checkpoint names."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def encode(self, known: Features) -> NDArray[np.int64]:
        """Ids [T, F] of a symbol's bars, MISSING where a field is not known."""
        ids = [
            np.where(np.isfinite(x), np.searchsorted(edges, x, side="right"), self.missing)
            for x, edges in zip(known.geometry.T, self.field_edges, strict=True)
        ]
        return np.stack(ids, axis=1).astype(np.int64)

    def decode(self, ids: NDArray[np.int64]) -> Floats:
        """Values [T, F] in the middle of their bins, the outermost as wide as their neighbours.

        NaN for MISSING.
        """
        out = np.full(ids.shape, np.nan)
        for f, edges in enumerate(self.field_edges):
            inner = np.asarray(edges)
            low, high = 2 * inner[0] - inner[1], 2 * inner[-1] - inner[-2]
            padded = np.concatenate(([low], inner, [high]))
            middles = np.append((padded[1:] + padded[:-1]) / 2, np.nan)
            index = np.where(ids[:, f] == self.missing, len(middles) - 1, ids[:, f])
            out[:, f] = middles[index]
        return out

    def inputs(self, known: Features) -> NDArray[np.float32]:
        """Continuous inputs [T, I], standardised by the history, clipped; unknown ones are 0."""
        z = (known.inputs - np.asarray(self.input_mean)) / np.asarray(self.input_deviation)
        return np.nan_to_num(np.clip(z, -CLIP, CLIP)).astype(np.float32)

    def encode_returns(self, bars: Bars, known: Features) -> NDArray[np.int64]:
        """Return tokens [T, H]; -1 where the target has not ended among these bars."""
        out = np.full((len(bars), len(self.horizons)), -1, dtype=np.int64)
        for j, horizon in enumerate(self.horizons):
            z = scaled_return(bars, known, horizon)
            there = np.isfinite(z)
            out[there, j] = np.searchsorted(self.return_edges[j], z[there], side="right")
        return out

    def bin_masses(self) -> Floats:
        """[H, K] mass of each return bin under the fitted shape: an untaught model's forecast."""
        return bin_masses(self._base, np.array(self.return_edges))

    def density(self, scale: Floats, probabilities: Floats) -> Binned:
        """Densities [N, H] of the log return: causal scale [N], bin probabilities [N, H, K]."""
        return Binned(
            base=self._base,
            edges=np.array(self.return_edges),
            scale=scale[:, None] * np.sqrt(np.array(self.horizons, dtype=np.float64)),
            probabilities=probabilities,
        )

    @property
    def _base(self) -> StudentT:
        """[1, H] the fitted shapes of the scaled return."""
        loc, width, df = np.array(self.shapes).T[:, None]
        return StudentT(loc, width, df)


def scaled_return(bars: Bars, known: Features, horizon: int) -> Floats:
    """[T] return of the next `horizon` bars in units of the causal scale times root h."""
    return cumulative_return(bars, horizon) / (known.scale * np.sqrt(horizon))


def fit_tokenizer(
    history: Panel, horizons: Sequence[int], kind: Kind, *, field_bins: int, return_bins: int
) -> BarTokenizer:
    """A tokeniser of all symbols' bars of the history. Raises DataError where there are too few."""
    known = [features(bars) for bars in history]
    geometry = np.concatenate([each.geometry[WARM_UP:] for each in known])
    inputs = np.concatenate([each.inputs[WARM_UP:] for each in known])
    if len(geometry) < 2 * return_bins:
        raise DataError(
            f"{', '.join(history.symbols)}: {len(geometry)} bars after the first {WARM_UP} of each,"
            f" needs at least {2 * return_bins} for {return_bins} bins; fetch more history"
        )
    shapes = []
    for horizon in horizons:
        z = [scaled_return(b, f, horizon)[WARM_UP:] for b, f in zip(history, known, strict=True)]
        shapes.append(fit_shape(np.concatenate(z)))
    deviation = np.nanstd(inputs, axis=0)
    return BarTokenizer(
        kind=kind,
        fitted_until=str(history.clock[-1]),
        horizons=tuple(horizons),
        field_edges=tuple(_field_edges(x, field_bins) for x in geometry.T),
        field_bins=field_bins,
        shapes=tuple((s.loc, s.scale, s.df) for s in shapes),
        return_edges=tuple(_return_edges(kind, s, return_bins) for s in shapes),
        input_mean=tuple(np.nan_to_num(np.nanmean(inputs, axis=0)).tolist()),
        input_deviation=tuple(np.where(deviation > 1e-9, deviation, 1.0).tolist()),
    )


def _field_edges(x: Floats, bins: int) -> tuple[float, ...]:
    """Inner edges of equal-mass bins, unique (opens that equal a close are atoms); two at least."""
    x = x[np.isfinite(x)]
    if len(x) == 0:
        return (-1.0, 1.0)
    edges = np.unique(np.quantile(x, np.arange(1, bins) / bins))
    if len(edges) < 2:
        return (float(edges[0]) - 1e-6, float(edges[0]) + 1e-6)
    return tuple(edges.tolist())


def _return_edges(kind: Kind, shape: Shape, bins: int) -> tuple[float, ...]:
    """K-1 inner edges of the scaled return."""
    match kind:
        case "scaled":
            edges = shape.loc + shape.scale * stdtrit(shape.df, np.arange(1, bins) / bins)
        case "uniform":
            edges = np.linspace(-WIDEST, WIDEST, bins - 1)
    return tuple(np.asarray(edges).tolist())

"""BarTokenizer: bars as tokens, returns as bins; fitted on a history, then frozen.

T bars, F fields of a bar (features.GEOMETRY), K bins of a return, H horizons. A value on an edge
belongs to the bin above it. Kinds:

    prior     bins of a HARX density, finer towards its tails: the strongest classical model
    scaled    bins of equal mass under a Student-t of range-scaled returns
    uniform   bins of equal width of the same, as Ansari et al. 2024 (Chronos, section 3.1)

A density inside a bin has the shape of the prior, and its tails beyond the last edge.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from forecaster.bars import Bars, Floats, Panel
from forecaster.distributions import Binned, bin_masses
from forecaster.errors import DataError
from forecaster.features import WARM_UP, Features, cumulative_return, features, known_moments
from forecaster.tokens.edges import Kind, field_edges, return_edges
from forecaster.tokens.prior import Prior, fit_harx_prior, fit_range_prior

VERSION = 2
CLIP = 5.0  # standard deviations of a continuous input


class BarTokenizer(BaseModel):
    """Edges, shapes and means: what turns bars into tokens and probabilities into densities."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[2] = VERSION
    kind: Kind
    prior: Prior
    fitted_until: str  # ISO time, UTC: the last close that the fit saw
    field_edges: tuple[tuple[float, ...], ...]  # F rows of ascending edges, made unique
    field_bins: int  # ids a field: bins 0 .. field_bins-1, then MISSING
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

    @property
    def horizons(self) -> tuple[int, ...]:
        """Bars ahead."""
        return self.prior.horizons

    def scales(self, bars: Bars, known: Features) -> Floats:
        """[T, H] the prior's scale of each horizon's return."""
        return self.prior.scales(bars, known)

    def inputs(self, bars: Bars, known: Features) -> NDArray[np.float32]:
        """Continuous inputs [T, I], standardised by the history, clipped; unknown ones are 0."""
        return self.inputs_at(known, self.scales(bars, known))

    def inputs_at(self, known: Features, scales: Floats) -> NDArray[np.float32]:
        """The same [N, I] of N bars, beside the prior's scales [N, H] of them."""
        z = raw_inputs(self.prior, known, scales) - np.asarray(self.input_mean)
        z /= np.asarray(self.input_deviation)
        return np.nan_to_num(np.clip(z, -CLIP, CLIP)).astype(np.float32)

    def encode_returns(self, bars: Bars, known: Features) -> NDArray[np.int64]:
        """Return tokens [T, H]; -1 where the target has not ended among these bars."""
        out = np.full((len(bars), len(self.horizons)), -1, dtype=np.int64)
        scales = self.scales(bars, known)
        for j, horizon in enumerate(self.horizons):
            z = cumulative_return(bars, horizon) / scales[:, j]
            there = np.isfinite(z)
            out[there, j] = np.searchsorted(self.return_edges[j], z[there], side="right")
        return out

    def bin_masses(self) -> Floats:
        """[H, K] mass of each return bin under the prior: an untaught model's forecast."""
        return bin_masses(self.prior.base(), np.array(self.return_edges))

    def density(self, scales: Floats, probabilities: Floats) -> Binned:
        """Densities [N, H] of the log return: scales [N, H], bin probabilities [N, H, K]."""
        return Binned(
            base=self.prior.base(),
            edges=np.array(self.return_edges),
            scale=scales,
            probabilities=probabilities,
        )


def raw_inputs(prior: Prior, known: Features, scales: Floats) -> Floats:
    """[N, I] the features, and how far the prior's scales [N, H] are from the plain one."""
    roots = np.sqrt(np.array(prior.horizons, dtype=np.float64))
    distance = np.log(scales / (known.scale[:, None] * roots))
    return np.concatenate((known.inputs, distance), axis=1)


def fit_tokenizer(
    history: Panel, horizons: Sequence[int], kind: Kind, *, field_bins: int, return_bins: int
) -> BarTokenizer:
    """A tokeniser of all symbols' bars of the history. Raises DataError where there are too few."""
    known = [features(bars) for bars in history]
    geometry = np.concatenate([each.geometry[WARM_UP:] for each in known])
    if len(geometry) < 2 * return_bins:
        raise DataError(
            f"{', '.join(history.symbols)}: {len(geometry)} bars after the first {WARM_UP} of each,"
            f" needs at least {2 * return_bins} for {return_bins} bins; fetch more history"
        )
    prior = (
        fit_harx_prior(history, horizons)
        if kind == "prior"
        else fit_range_prior(history, known, horizons)
    )
    inputs = np.concatenate(
        [
            raw_inputs(prior, f, prior.scales(b, f))[WARM_UP:]
            for b, f in zip(history, known, strict=True)
        ]
    )
    mean, deviation = known_moments(inputs)
    return BarTokenizer(
        kind=kind,
        prior=prior,
        fitted_until=str(history.clock[-1]),
        field_edges=tuple(field_edges(x, field_bins) for x in geometry.T),
        field_bins=field_bins,
        return_edges=tuple(map(tuple, return_edges(kind, prior.base(), return_bins).tolist())),
        input_mean=tuple(mean.tolist()),
        input_deviation=tuple(deviation.tolist()),
    )

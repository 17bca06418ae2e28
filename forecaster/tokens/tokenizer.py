"""BarTokenizer: bars as tokens, returns as bins; fitted on a history, then frozen.

T bars, F fields of a bar (features.GEOMETRY), K bins of a return, H horizons. A value on an edge
belongs to the bin above it. Kinds:

    prior     bins of a HARX density, finer towards its tails: the strongest classical model
    scaled    bins of equal mass under a Student-t of range-scaled returns
    uniform   bins of equal width of the same, as Ansari et al. 2024 (Chronos, section 3.1)
    levels    bins of equal width of prices in units of their window: the bad example

A density inside a bin has the shape of the prior, and its tails beyond the last edge.
"""

import hashlib
import json
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from forecaster.bars import Bars, Floats
from forecaster.distributions import Binned, bin_masses
from forecaster.features import (
    Features,
    cumulative_return,
)
from forecaster.tokens.edges import Kind
from forecaster.tokens.levels import LevelPrior
from forecaster.tokens.prior import Prior
from forecaster.tokens.variance import VarianceTokens

VERSION = 3
CLIP = 5.0  # standard deviations of a continuous input


class BarTokenizer(BaseModel):
    """Edges, shapes and means: what turns bars into tokens and probabilities into densities."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[3] = VERSION
    kind: Kind
    prior: Prior
    fitted_until: str  # ISO time, UTC: the last close that the fit saw
    field_edges: tuple[tuple[float, ...], ...]  # F rows of ascending edges, made unique
    field_bins: int  # ids a field: bins 0 .. field_bins-1, then MISSING
    return_edges: tuple[tuple[float, ...], ...]  # H rows of K-1 edges of the scaled return
    input_mean: tuple[float, ...]
    input_deviation: tuple[float, ...]
    variance: VarianceTokens | None = None

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
        return self.encode_fields(known.geometry)

    def encode_fields(self, values: Floats) -> NDArray[np.int64]:
        """Values [T, F], NaN where unknown -> ids [T, F]."""
        ids = [
            np.where(np.isfinite(x), np.searchsorted(edges, x, side="right"), self.missing)
            for x, edges in zip(values.T, self.field_edges, strict=True)
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

    def locs(self, bars: Bars, known: Features) -> Floats:
        """[T, H] where the prior's shape is centred, as a log return: 0 unless levels are coded."""
        if isinstance(self.prior, LevelPrior):
            return self.prior.locs(bars, known)
        return np.zeros((len(bars), len(self.horizons)))

    def inputs(self, bars: Bars, known: Features) -> NDArray[np.float32]:
        """Continuous inputs [T, I], standardised by the history, clipped; unknown ones are 0."""
        z = raw_inputs(self.prior, bars, known) - np.asarray(self.input_mean)
        z /= np.asarray(self.input_deviation)
        return np.nan_to_num(np.clip(z, -CLIP, CLIP)).astype(np.float32)

    def standardised_returns(self, bars: Bars, known: Features) -> Floats:
        """[T, H] in units of the prior; NaN where the target has not ended among these bars."""
        ahead = np.stack([cumulative_return(bars, h) for h in self.horizons], axis=1)
        return (ahead - self.locs(bars, known)) / self.scales(bars, known)

    def encode_standardised(self, z: Floats) -> NDArray[np.int64]:
        """z [T, H] -> return tokens [T, H]; -1 where unknown."""
        bins = [
            np.searchsorted(edges, x, side="right")
            for x, edges in zip(z.T, self.return_edges, strict=True)
        ]
        return np.where(np.isfinite(z), np.stack(bins, axis=1), -1)

    def encode_returns(self, bars: Bars, known: Features) -> NDArray[np.int64]:
        """Return tokens [T, H]; -1 where the target has not ended among these bars."""
        return self.encode_standardised(self.standardised_returns(bars, known))

    def targets(self, bars: Bars, known: Features) -> NDArray[np.int64]:
        """What a network is taught, [T, J]: return tokens, then variance tokens where there are."""
        returns = self.encode_returns(bars, known)
        if self.variance is None:
            return returns
        return np.concatenate((returns, self.variance.encode(bars)), axis=1)

    def target_masses(self) -> Floats:
        """[J, K] mass of each target's bins under the priors: what an untaught network says."""
        if self.variance is None:
            return self.bin_masses()
        return np.concatenate((self.bin_masses(), self.variance.bin_masses()))

    def bin_masses(self) -> Floats:
        """[H, K] mass of each return bin under the prior: an untaught model's forecast."""
        return bin_masses(self.prior.base(), np.array(self.return_edges))

    def density(self, scales: Floats, probabilities: Floats, locs: Floats | None = None) -> Binned:
        """Densities [N, H] of the log return: bin probabilities [N, H, K], scales and locs [N, H].

        No locs: zero, as they are unless levels are coded.
        """
        return Binned(
            base=self.prior.base(),
            edges=np.array(self.return_edges),
            scale=scales,
            probabilities=probabilities,
            loc=np.zeros((1, 1)) if locs is None else locs,
        )


def raw_inputs(prior: Prior, bars: Bars, known: Features) -> Floats:
    """[T, I] the features, and how far the prior's scales are from the plain one."""
    roots = np.sqrt(np.array(prior.horizons, dtype=np.float64))
    distance = np.log(prior.scales(bars, known) / (known.scale[:, None] * roots))
    return np.concatenate((known.inputs, distance), axis=1)

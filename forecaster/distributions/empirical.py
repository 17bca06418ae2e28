"""A sample as a distribution: each of its points has probability 1/S.

N origins, H horizons, S points. cdf, quantiles, CRPS, PIT and mean are those of the sample itself.
A log score needs a density, which a sample has not: `logpdf` alone is a kernel estimate.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scoringrules
from numpy.typing import NDArray

from forecaster.distributions.distribution import Distribution, Floats, bins_of, column_of, finite

# Kernel: Student t with 4 degrees of freedom, about the tail of daily returns, so that a return far
# outside the sample has a log score that falls with the logarithm of its distance, not its square.
KERNEL_DF = 4.0
LOG_KERNEL_AT_0 = float(np.log(3 / 8))  # the density of t(4) at zero
# Bandwidth: Silverman, Density Estimation (1986), eq. 3.31.
SILVERMAN = 0.9
# Floors of the bandwidth: a share of the standard deviation, for samples whose middle half is one
# atom, and an absolute one, a hundredth of a basis point of log return, for a constant sample.
BANDWIDTH_SHARE = 0.01
BANDWIDTH_FLOOR = 1e-6
BLOCK = 1 << 17  # sample points at a time: temporaries stay in a processor's cache


@dataclass(frozen=True, eq=False)
class Empirical(Distribution):
    """The sample is the distribution, not a draw from one: no "fair" correction of its scores."""

    samples: Floats  # [N, H, S] unit of y; kept sorted

    def __post_init__(self) -> None:
        """Sort, freeze and check."""
        samples = np.sort(finite("samples", self.samples, 3), axis=-1)
        if samples.shape[-1] < 2:
            raise ValueError(f"samples has {samples.shape[-1]} point: wanted two or more")
        samples.flags.writeable = False
        object.__setattr__(self, "samples", samples)

    @property
    def shape(self) -> tuple[int, int]:
        """(N, H)."""
        return self.samples.shape[0], self.samples.shape[1]

    @property
    def bandwidth(self) -> Floats:
        """[N, H] of the kernel: 0.9 min(standard deviation, IQR / 1.349) S^(-1/5), floored."""
        size = self.samples.shape[-1]
        deviation = self.samples.std(axis=-1, ddof=1)
        quartiles = self.quantile([0.25, 0.75])
        spread = np.minimum(deviation, (quartiles[..., 1] - quartiles[..., 0]) / 1.349)
        silverman = SILVERMAN * spread * size**-0.2
        return np.maximum(np.maximum(silverman, BANDWIDTH_SHARE * deviation), BANDWIDTH_FLOOR)

    def logpdf(self, y: Floats) -> Floats:
        """y [N, H] -> nats, of the kernel estimate (the other scores need none)."""
        y, bandwidth = np.asarray(y, dtype=np.float64), self.bandwidth
        parts = []
        for part in self._parts():
            z = (y[part, :, None] - self.samples[part]) / bandwidth[part, :, None]
            decay = 1 + z**2 / KERNEL_DF
            # Relative to the nearest point: however far y is, one term of the mean is 1.
            nearest = decay.min(axis=-1)
            ratio = nearest[..., None] / decay
            kernels = (ratio * ratio * np.sqrt(ratio)).mean(axis=-1)  # exponent (4 + 1) / 2
            parts.append(np.log(kernels) - (KERNEL_DF + 1) / 2 * np.log(nearest))
        return np.concatenate(parts) + LOG_KERNEL_AT_0 - np.log(bandwidth)

    def cdf(self, y: Floats) -> Floats:
        """y [N, H] -> share of points <= y."""
        y = np.asarray(y, dtype=np.float64)
        return np.where(np.isnan(y), np.nan, bins_of(self.samples, y) / self.samples.shape[-1])

    def pit(self, y: Floats) -> Floats:
        """y [N, H] -> share of points below y plus half the share of points equal to it."""
        y = np.asarray(y, dtype=np.float64)
        below = bins_of(self.samples, np.nextafter(y, -np.inf)) / self.samples.shape[-1]
        return 0.5 * (below + self.cdf(y))

    def ppf(self, u: Floats) -> Floats:
        """U [..., N, H] -> the least point whose cdf is at least u: no interpolation."""
        size = self.samples.shape[-1]
        u = np.asarray(u, dtype=np.float64)
        # 0.07 * 100 is 7.000000000000001 in binary: rounding must not cost a whole step.
        rank = np.clip(np.ceil(u * size * (1 - 4 * np.finfo(float).eps)) - 1, 0, size - 1)
        rank = np.broadcast_to(rank, np.broadcast_shapes(u.shape, self.shape)).astype(np.int64)
        flat = rank.reshape(-1, *self.shape)
        found = np.take_along_axis(self.samples, np.moveaxis(flat, 0, -1), axis=-1)
        return np.moveaxis(found, -1, 0).reshape(rank.shape)

    def crps(self, y: Floats) -> Floats:
        """y [N, H] -> unit of y, by the quantile decomposition of the sorted sample."""
        y = np.asarray(y, dtype=np.float64)
        out = np.empty(y.shape)
        for part in self._parts():
            out[part] = scoringrules.crps_ensemble(
                y[part],
                self.samples[part],
                estimator="qd",  # exact for the sample; `pwm` would be the fair one
                sorted_ensemble=True,
                backend="numpy",
            )
        return out

    def _parts(self) -> list[slice]:
        """Origins, some after others."""
        rows = max(1, BLOCK // self.samples[0].size)
        return [slice(start, start + rows) for start in range(0, len(self.samples), rows)]

    def mean(self) -> Floats:
        """[N, H] of the sample."""
        return self.samples.mean(axis=-1)

    def take(self, rows: NDArray[Any]) -> Self:
        """The samples of some origins."""
        return type(self)(self.samples[rows])

    def at(self, h: int) -> Self:
        """The samples of one horizon."""
        return column_of(self, h)

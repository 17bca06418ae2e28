"""Planted leaks of what looks at more than one symbol's last bars: seasons, pools, companies."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from leaks import Patch, leak, peek_at_the_panel
from torch import Tensor

from forecaster import pooled
from forecaster.bars import Bars, Panel
from forecaster.baselines import expanding
from forecaster.baselines.pool import FittedPool, best_weights
from forecaster.distributions import Gaussian, Mixture
from forecaster.features import cumulative_return
from forecaster.learner import market, network
from forecaster.learner.windows import Company
from forecaster.protocol import Origins


@leak("forecast: seasonal_20")
def season_counts_returns_that_have_not_ended(patch: Patch) -> None:
    """What is said of an origin was known some bars later."""
    original = expanding.Seasonal.forecast

    def forecast(
        self: expanding.Seasonal, past: Panel, origins: Origins, horizons: Sequence[int]
    ) -> Gaussian:
        last = np.array([len(bars) - 1 for bars in past])
        later = np.minimum(origins.bar + max(horizons), last[origins.member])
        return original(self, past, Origins(origins.member, later), horizons)

    patch.setattr(expanding.Seasonal, "forecast", forecast)


@leak("forecast: seasonal_20")
def seasons_are_ranks_among_all_bars(patch: Patch) -> None:
    def season_of(bars: Bars) -> np.ndarray:
        thirds = np.nanquantile(bars.close, [1 / 3, 2 / 3])
        return np.searchsorted(thirds, bars.close)

    patch.setattr(expanding, "season_of", season_of)


@leak("forecast: llama")
def weights_of_a_pool_learned_on_what_is_asked(patch: Patch) -> None:
    def forecast(
        self: FittedPool, past: Panel, origins: Origins, horizons: Sequence[int]
    ) -> Mixture:
        told = tuple(each.forecast(past, origins, horizons) for each in self.members)
        y = np.empty((len(origins), len(horizons)))
        for i, bars in enumerate(past):
            rows = origins.member == i
            returns = np.stack([cumulative_return(bars, h) for h in horizons], axis=1)
            y[rows] = returns[origins.bar[rows]]
        density = np.stack([each.logpdf(y) for each in told], axis=-1)
        weights = [best_weights(density[:, j], 1.0) for j in range(len(horizons))]
        return Mixture(told, np.stack(weights))

    patch.setattr(FittedPool, "forecast", forecast)


@leak("fit: llama")
def members_of_a_pool_fitted_to_the_test(patch: Patch) -> None:
    seen, original = peek_at_the_panel(patch), pooled.accompanied
    patch.setattr(
        pooled, "accompanied", lambda learner, _, hs: original(learner, seen["panel"], hs)
    )


@leak("training windows", together=2)
def companions_stand_a_moment_early(patch: Patch) -> None:
    original = market.Market.__init__

    def init(self: market.Market, panel: Panel, *more: Any) -> None:
        original(self, panel, *more)
        self.ticks[1:] = [ticks - 1 for ticks in self.ticks[1:]]
        self.tick = np.append(np.concatenate(self.ticks), -1)

    patch.setattr(market.Market, "__init__", init)


@leak("network inputs", together=2)
def companions_are_read_a_moment_late(patch: Patch) -> None:
    original = market.Market.span

    def span(self: market.Market, member: int, end: int) -> tuple[int, int]:
        return original(self, member, end + 1)

    patch.setattr(market.Market, "span", span)


@leak("network", together=2)
def two_moments_see_one_another(patch: Patch) -> None:
    original = network.BarNetwork.forward

    def forward(
        self: network.BarNetwork, tokens: Tensor, inputs: Tensor, company: Company | None = None
    ) -> Tensor:
        assert company is not None
        coarse = replace(company, moments=company.moments.div(2, rounding_mode="floor"))
        return original(self, tokens, inputs, coarse)

    patch.setattr(network.BarNetwork, "forward", forward)

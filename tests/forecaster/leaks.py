"""Planted leaks: each a stage of the pipeline with one mistake in it, and the stage to be named."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch

import forecaster.features as feature_module
from forecaster import backtest, folds, scores
from forecaster.bars import Bars, Panel
from forecaster.baselines import harx as harx_rows
from forecaster.baselines import naive, volatility
from forecaster.distributions import Empirical, Gaussian
from forecaster.econometrics import regressors as regressor_module
from forecaster.learner import asked as asked_module
from forecaster.learner import network, windows
from forecaster.protocol import Origins
from forecaster.tokens import fitting as token_fits
from forecaster.tokens import prior as token_priors
from forecaster.tokens import tokenizer as token_module

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Leak:
    """A mistake, the stage at which it must be caught, how many symbols networks read together."""

    plant: Callable[[Patch], None]
    stage: str
    together: int | None = None


LEAKS: dict[str, Leak] = {}


def leak(
    stage: str, *, together: int | None = None
) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    """Registers a leak by its function's name."""

    def keep(plant: Callable[[Patch], None]) -> Callable[[Patch], None]:
        LEAKS[plant.__name__] = Leak(plant, stage, together)
        return plant

    return keep


def everywhere(patch: Patch, original: Any, mutant: Any) -> None:
    """Put a mutant wherever a module of ours holds the original."""
    for name, module in list(sys.modules.items()):
        if name.startswith("forecaster"):
            for attribute, value in list(vars(module).items()):
                if value is original:
                    patch.setattr(module, attribute, mutant)


def adjusted_by(patch: Patch, change: Callable[[Bars], Bars]) -> None:
    original = Bars.adjusted
    patch.setattr(Bars, "adjusted", lambda self: change(original(self)))


def peek_at_the_panel(patch: Patch) -> dict[str, Panel]:
    """What a careless author has at hand in a fit: the whole panel, kept when a history is cut."""
    seen: dict[str, Panel] = {}
    original = folds.Fold.history

    def history(self: folds.Fold, panel: Panel) -> Panel:
        seen["panel"] = panel
        return original(self, panel)

    patch.setattr(folds.Fold, "history", history)
    return seen


@leak("clock")
def last_partial_bar_kept(patch: Patch) -> None:
    def until(self: Bars, moment: np.datetime64) -> Bars:
        return self.head(int(np.searchsorted(self.opened_at, moment, side="right")))

    patch.setattr(Bars, "until", until)


@leak("adjusted")
def unknown_volume_filled_backwards(patch: Patch) -> None:
    adjusted_by(patch, lambda b: replace(b, volume=pd.Series(b.volume).bfill().to_numpy()))


@leak("adjusted")
def unknown_volume_interpolated(patch: Patch) -> None:
    adjusted_by(
        patch,
        lambda b: replace(
            b, volume=pd.Series(b.volume).interpolate(limit_direction="both").to_numpy()
        ),
    )


@leak("adjusted")
def winsorised_on_the_full_sample(patch: Patch) -> None:
    adjusted_by(
        patch,
        lambda b: replace(b, volume=np.clip(b.volume, *np.nanquantile(b.volume, [0.05, 0.95]))),
    )


@leak("adjusted")
def factor_of_the_next_bar(patch: Patch) -> None:
    """A dividend is known on the evening before its ex-date."""
    original = Bars.adjusted

    def adjusted(self: Bars) -> Bars:
        early = np.append(self.adjustment[1:], self.adjustment[-1:])
        return original(replace(self, adjustment=early))

    patch.setattr(Bars, "adjusted", adjusted)


@leak("adjusted")
def adjusted_by_adding(patch: Patch) -> None:
    """History shifted to meet today's price, as continuous futures are: returns know the gaps."""

    def adjusted(self: Bars) -> Bars:
        jumps = np.diff(self.adjustment, append=self.adjustment[-1:]) / self.adjustment
        shift = np.cumsum((self.close * jumps)[::-1])[::-1]
        low = np.fmin(self.low, self.close)
        shift = np.maximum(shift, 0.01 - low.min())
        prices = {name: getattr(self, name) + shift for name in ("open", "high", "low", "close")}
        return replace(self, **prices, adjustment=np.ones(len(self)))

    patch.setattr(Bars, "adjusted", adjusted)


@leak("adjusted")
def factor_drawn_towards_todays(patch: Patch) -> None:
    """Today's factor rescales history by more the nearer it is."""
    original = Bars.adjusted

    def adjusted(self: Bars) -> Bars:
        weight = np.linspace(0, 1, len(self))
        factor = self.adjustment ** (1 - weight) * self.adjustment[-1:] ** weight
        return original(replace(self, adjustment=factor))

    patch.setattr(Bars, "adjusted", adjusted)


@leak("adjusted")
def outliers_of_the_full_sample_mended(patch: Patch) -> None:
    def mended(bars: Bars) -> Bars:
        r = np.diff(np.log(bars.close), prepend=np.log(bars.close[:1]))
        kept = np.where(np.abs(r) > 3 * r.std(), 0.0, r)
        close = np.exp(np.log(bars.close[:1]) + np.cumsum(kept))
        prices = {n: getattr(bars, n) * close / bars.close for n in ("open", "high", "low")}
        return replace(bars, **prices, close=close)

    adjusted_by(patch, mended)


@leak("adjustment")
def a_price_level_among_the_inputs(patch: Patch) -> None:
    original = feature_module.features

    def features(bars: Bars) -> feature_module.Features:
        known = original(bars)
        inputs = known.inputs.copy()
        inputs[:, 0] += 1e-3 * bars.close
        return replace(known, inputs=inputs)

    everywhere(patch, original, features)


@leak("adjustment")
def a_threshold_in_price_units(patch: Patch) -> None:
    original = feature_module.features

    def features(bars: Bars) -> feature_module.Features:
        known = original(bars)
        return replace(known, geometry=known.geometry * (bars.close > 60)[:, None])

    everywhere(patch, original, features)


@leak("features")
def centred_rolling_scale(patch: Patch) -> None:
    def causal_mean(x: np.ndarray, decay: float) -> np.ndarray:
        n = max(int(1 / (1 - decay)), 3)
        return pd.Series(x).rolling(n, center=True, min_periods=1).mean().to_numpy()

    everywhere(patch, feature_module.causal_mean, causal_mean)


@leak("features")
def volume_of_the_next_bar(patch: Patch) -> None:
    original = feature_module.activity
    everywhere(patch, original, lambda bars: np.append(original(bars)[1:], np.nan))


@leak("features")
def inputs_scaled_by_all_bars(patch: Patch) -> None:
    original = feature_module.features

    def features(bars: Bars) -> feature_module.Features:
        known = original(bars)
        mean, deviation = feature_module.known_moments(known.inputs)
        return replace(known, inputs=(known.inputs - mean) / deviation)

    everywhere(patch, original, features)


@leak("features")
def volatility_regime_of_the_full_sample(patch: Patch) -> None:
    original = regressor_module.regressors

    def regressors(bars: Bars) -> np.ndarray:
        x = original(bars)
        return x - np.nanmedian(x, axis=0)

    everywhere(patch, original, regressors)


@leak("features")
def cache_that_does_not_look_at_the_bars(patch: Patch) -> None:
    original, kept = feature_module.features, {}

    def features(bars: Bars) -> feature_module.Features:
        return kept.setdefault((bars.symbol, len(bars)), original(bars))

    everywhere(patch, original, features)


@leak("tokens")
def tokens_are_ranks_over_all_bars(patch: Patch) -> None:
    def encode(self: token_module.BarTokenizer, known: feature_module.Features) -> np.ndarray:
        ranks = pd.DataFrame(known.geometry).rank(pct=True).fillna(0).to_numpy()
        return np.minimum((ranks * self.field_bins).astype(np.int64), self.field_bins - 1)

    patch.setattr(token_module.BarTokenizer, "encode", encode)


@leak("tokens")
def prior_scale_smoothed_both_ways(patch: Patch) -> None:
    original = token_module.BarTokenizer.scales

    def scales(self: token_module.BarTokenizer, bars: Bars, known: Any) -> np.ndarray:
        plain = pd.DataFrame(original(self, bars, known))
        return plain.rolling(3, center=True, min_periods=1).mean().to_numpy()

    patch.setattr(token_module.BarTokenizer, "scales", scales)


@leak("targets")
def label_shifted_by_a_bar(patch: Patch) -> None:
    original = feature_module.cumulative_return

    def cumulative_return(bars: Bars, horizon: int) -> np.ndarray:
        return np.append(np.nan, original(bars, horizon)[:-1])

    everywhere(patch, original, cumulative_return)


@leak("targets")
def unfinished_targets_kept(patch: Patch) -> None:
    original = feature_module.cumulative_return

    def cumulative_return(bars: Bars, horizon: int) -> np.ndarray:
        out = original(bars, horizon)
        unfinished = np.isnan(out)
        out[unfinished] = np.log(bars.close[-1] / bars.close[unfinished])
        return out

    everywhere(patch, original, cumulative_return)


@leak("folds")
def no_purge(patch: Patch) -> None:
    late = np.timedelta64(5, "D")
    patch.setattr(folds.Fold, "history", lambda self, panel: panel.until(self.train_until + late))


@leak("folds")
def purge_of_the_wrong_sign(patch: Patch) -> None:
    original = folds.walk_forward
    late = np.timedelta64(5, "D")

    def walk_forward(panel: Panel, schedule: folds.Schedule) -> list[folds.Fold]:
        made = original(panel, schedule)
        return [replace(fold, train_until=fold.train_until + late) for fold in made]

    everywhere(patch, original, walk_forward)


@leak("folds")
def borders_by_the_share_of_all_bars(patch: Patch) -> None:
    original = folds.walk_forward

    def walk_forward(panel: Panel, schedule: folds.Schedule) -> list[folds.Fold]:
        first = np.searchsorted(panel.clock, schedule.test_from)
        every = max((len(panel.clock) - int(first)) // 7, 1)
        return original(panel, replace(schedule, refit_every=every))

    everywhere(patch, original, walk_forward)


def only_some(patch: Patch, kept: Callable[[Panel], np.ndarray]) -> None:
    """Origins of the members that `kept` names by looking at the whole panel."""
    original = folds.Fold.origins

    def origins(self: folds.Fold, panel: Panel) -> Origins:
        asked = original(self, panel)
        rows = np.isin(asked.member, np.flatnonzero(kept(panel)))
        return Origins(asked.member[rows], asked.bar[rows])

    patch.setattr(folds.Fold, "origins", origins)


@leak("folds")
def symbols_dropped_that_die_later(patch: Patch) -> None:
    only_some(
        patch,
        lambda panel: np.array([len(b) and b.closed_at[-1] == panel.clock[-1] for b in panel]),
    )


@leak("folds")
def symbols_of_the_largest_volume_ever(patch: Patch) -> None:
    def largest(panel: Panel) -> np.ndarray:
        total = np.array([np.nansum(bars.volume) for bars in panel])
        return total >= np.sort(total)[-2]

    only_some(patch, largest)


@leak("tokeniser fit")
def edges_of_all_bars(patch: Patch) -> None:
    seen, original = peek_at_the_panel(patch), token_fits.fit_tokenizer

    def fit_tokenizer(history: Panel, *rest: Any, **more: Any) -> token_module.BarTokenizer:
        every = original(seen["panel"], *rest, **more)
        update = {"field_edges": every.field_edges}
        return original(history, *rest, **more).model_copy(update=update)

    everywhere(patch, original, fit_tokenizer)


@leak("tokeniser fit")
def scaler_of_all_bars(patch: Patch) -> None:
    seen, original = peek_at_the_panel(patch), token_fits.fit_tokenizer

    def fit_tokenizer(history: Panel, *rest: Any, **more: Any) -> token_module.BarTokenizer:
        every = original(seen["panel"], *rest, **more)
        update = {"input_mean": every.input_mean, "input_deviation": every.input_deviation}
        return original(history, *rest, **more).model_copy(update=update)

    everywhere(patch, original, fit_tokenizer)


@leak("tokeniser fit")
def prior_refitted_on_the_test(patch: Patch) -> None:
    seen, original = peek_at_the_panel(patch), token_priors.fit_range_prior

    def fit_range_prior(_: Panel, __: Any, horizons: Sequence[int]) -> Any:
        every = seen["panel"]
        return original(every, [feature_module.features(bars) for bars in every], horizons)

    everywhere(patch, original, fit_range_prior)


@leak("training windows")
def sampler_runs_into_the_test(patch: Patch) -> None:
    seen, original = peek_at_the_panel(patch), windows.tokenise

    def tokenise(panel: Panel, tokenizer: Any) -> list[windows.Member]:
        longer = seen.get("panel", panel)
        grow = len(longer) == len(panel) and len(longer.clock) > len(panel.clock) > 500
        return original(longer if grow else panel, tokenizer)

    patch.setattr(windows, "tokenise", tokenise)


@leak("training windows")
def sampler_runs_from_one_symbol_into_the_next(patch: Patch) -> None:
    original = windows.TrainingWindows.draw

    def draw(self: windows.TrainingWindows, k: int) -> windows.Batch:
        parts = {
            each.name: np.concatenate([getattr(m, each.name) for m in self.members])
            for each in fields(windows.TokenisedBars)
        }
        joined = windows.TokenisedBars(**parts)
        return original(replace(self, members=[joined]), k)

    patch.setattr(windows.TrainingWindows, "draw", draw)


@leak("training windows")
def targets_one_position_off(patch: Patch) -> None:
    original = windows.TrainingWindows.draw

    def draw(self: windows.TrainingWindows, k: int) -> windows.Batch:
        batch = original(self, k)
        return replace(batch, targets=batch.targets.roll(-1, dims=1))

    patch.setattr(windows.TrainingWindows, "draw", draw)


@leak("network inputs")
def window_statistics_with_the_horizon(patch: Patch) -> None:
    original = windows.origin_windows

    def origin_windows(
        members: list[windows.TokenisedBars], origins: Origins, context: int, batch: int, **how: Any
    ) -> Any:
        after = [
            pd.DataFrame(m.inputs).rolling(context).mean().shift(-3).ffill().fillna(0).to_numpy()
            for m in members
        ]
        moved = [
            replace(m, inputs=(m.inputs - a).astype(np.float32))
            for m, a in zip(members, after, strict=True)
        ]
        return original(moved, origins, context, batch, **how)

    everywhere(patch, original, origin_windows)


def forward_with(patch: Patch, change: Callable[[Any, torch.Tensor], torch.Tensor]) -> None:
    original = network.BarNetwork.forward

    def forward(self: Any, tokens: torch.Tensor, inputs: torch.Tensor, *more: Any) -> torch.Tensor:
        return original(self, tokens, change(self, inputs), *more)

    patch.setattr(network.BarNetwork, "forward", forward)


@leak("network")
def mask_off_by_one(patch: Patch) -> None:
    forward_with(patch, lambda _, x: torch.cat((x[:, 1:], x[:, -1:]), dim=1))


@leak("network")
def not_causal_in_eval_mode(patch: Patch) -> None:
    forward_with(patch, lambda n, x: x if n.training else x - x.mean(dim=1, keepdim=True))


@leak("network")
def statistics_over_batch_and_time_in_training(patch: Patch) -> None:
    forward_with(patch, lambda n, x: x - x.mean(dim=(0, 1)) if n.training else x)


@leak("fit: ewma_student_t")
def shape_fitted_to_the_test(patch: Patch) -> None:
    seen, original = peek_at_the_panel(patch), volatility.EwmaStudentT.fit
    patch.setattr(
        volatility.EwmaStudentT, "fit", lambda self, _, hs: original(self, seen["panel"], hs)
    )


@leak("fit: harx")
def regression_fitted_to_the_test(patch: Patch) -> None:
    seen, original = peek_at_the_panel(patch), harx_rows.HarxSkewT.fit
    patch.setattr(harx_rows.HarxSkewT, "fit", lambda self, _, hs: original(self, seen["panel"], hs))


@leak("forecast: volatility_20")
def window_centred_on_the_origin(patch: Patch) -> None:
    def forecast(
        self: naive.WindowVolatility, past: Panel, origins: Origins, horizons: Sequence[int]
    ) -> Gaussian:
        def scale(_: int, bars: Bars) -> np.ndarray:
            squares = pd.Series(np.nan_to_num(feature_module.log_returns(bars) ** 2))
            mean = squares.rolling(self.window, center=True, min_periods=1).mean()
            return naive.scale_by_root(np.sqrt(mean.to_numpy() + 1e-12), horizons)

        scales = naive.at_origins(past, origins, scale)
        return Gaussian(np.zeros_like(scales), scales)

    patch.setattr(naive.WindowVolatility, "forecast", forecast)


@leak("forecast: historical_250")
def samples_from_a_running_generator(patch: Patch) -> None:
    original, rng = naive.Historical.forecast, np.random.default_rng(0)

    def forecast(
        self: naive.Historical, past: Panel, origins: Origins, horizons: Sequence[int]
    ) -> Empirical:
        told = original(self, past, origins, horizons)
        return Empirical(told.samples + rng.normal(0, 1e-3, told.samples.shape))

    patch.setattr(naive.Historical, "forecast", forecast)


@leak("forecast: historical_250")
def generator_keyed_by_row(patch: Patch) -> None:
    original = naive.Historical.forecast

    def forecast(
        self: naive.Historical, past: Panel, origins: Origins, horizons: Sequence[int]
    ) -> Empirical:
        told = original(self, past, origins, horizons)
        drawn = [np.random.default_rng(i).normal(0, 1e-3) for i in range(len(origins))]
        return Empirical(told.samples + np.array(drawn)[:, None, None])

    patch.setattr(naive.Historical, "forecast", forecast)


@leak("forecast: ewma_gaussian")
def scale_relative_to_all_that_are_asked(patch: Patch) -> None:
    original = volatility.EwmaGaussian.forecast

    def forecast(
        self: volatility.EwmaGaussian, past: Panel, origins: Origins, horizons: Sequence[int]
    ) -> Gaussian:
        told = original(self, past, origins, horizons)
        return Gaussian(told.loc, 0.9 * told.scale + 0.1 * told.scale.mean(axis=0))

    patch.setattr(volatility.EwmaGaussian, "forecast", forecast)


@leak("forecast: llama")
def learner_scales_by_the_whole_past(patch: Patch) -> None:
    original = asked_module.tokenised

    def tokenised(bars: Bars, tokenizer: Any, *, taught: bool) -> windows.Member:
        member = cast(windows.TokenisedBars, original(bars, tokenizer, taught=taught))
        return replace(member, scales=member.scales * (1 + np.nanmax(member.scales)))

    patch.setattr(asked_module, "tokenised", tokenised)


@leak("truth")
def truth_of_the_bar_before(patch: Patch) -> None:
    original = scores.with_truth

    def with_truth(table: Any, panel: Panel) -> Any:
        shifted = Panel(tuple(_closes_moved(bars) for bars in panel))
        return original(table, shifted)

    patch.setattr(scores, "with_truth", with_truth)


def _closes_moved(bars: Bars) -> Bars:
    close = np.append(bars.close[:1], bars.close[:-1])
    nothing = np.full(len(bars), np.nan)
    return replace(bars, close=close, open=nothing, high=nothing, low=nothing)


@leak("predictions, scores")
def calibrated_on_the_test(patch: Patch) -> None:
    original = backtest.run_cell

    def run_cell(panel: Panel, horizons: Any, run_id: str, cell: Any) -> Any:
        got = original(panel, horizons, run_id, cell)
        y = got.predictions["y"].to_numpy()
        factor = 1 + float(np.nanstd(y))
        table = got.predictions.to_pandas()
        columns = table.columns[[kind == np.float64 for kind in table.dtypes]].difference(["y"])
        table[columns] *= factor
        schema = got.predictions.schema
        return replace(got, predictions=type(got.predictions).from_pandas(table, schema=schema))

    patch.setattr(backtest, "run_cell", run_cell)


@leak("predictions, scores")
def model_chosen_by_its_test_score(patch: Patch) -> None:
    original = backtest.run_cell

    def run_cell(panel: Panel, horizons: Any, run_id: str, cell: Any) -> Any:
        rivals = [cell, replace(cell, forecaster=_Renamed(cell.forecaster.name))]
        got = [original(panel, horizons, run_id, each) for each in rivals]
        return min(got, key=lambda each: float(np.sum(each.scores["crps"].to_numpy())))

    patch.setattr(backtest, "run_cell", run_cell)


class _Renamed(naive.WindowVolatility):
    """Another model under the name of the one that it competes with."""

    def __init__(self, name: str) -> None:
        super().__init__(20)
        object.__setattr__(self, "_name", name)

    @property
    def name(self) -> str:
        return vars(self)["_name"]


@leak("predictions, scores")
def scores_in_units_of_the_test(patch: Patch) -> None:
    original = scores.score

    def score(keys: Any, distribution: Any, y: np.ndarray, *more: Any) -> Any:
        table = original(keys, distribution, y, *more)
        at = table.column_names.index("crps")
        column = table["crps"].to_numpy() / np.nanstd(y)
        return table.set_column(at, table.schema.field("crps"), [column])

    patch.setattr(scores, "score", score)


@leak("symbols")
def members_in_the_order_given(patch: Patch) -> None:
    original = Panel.__post_init__

    def keep_order(self: Panel) -> None:
        given = self.members
        original(self)
        object.__setattr__(self, "members", given)

    patch.setattr(Panel, "__post_init__", keep_order)

"""Benches of what a cell does: fits, tokens, scores, each at one size and at twice that."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from forecaster import frames, scores
from forecaster.bars import Panel
from forecaster.baselines import BASELINES
from forecaster.bench.clock import Case, Way
from forecaster.bench.markets import HORIZONS, Size, market
from forecaster.econometrics import memo
from forecaster.learner import tokenise
from forecaster.protocol import Origins
from forecaster.tokens import fit_tokenizer

FITTED = ("garch_student_t", "gjr_skew_t", "egarch_skew_t", "har_empirical", "harx")
SCORED = (*("volatility_20", "expanding_student_t", "harx", "har_empirical"), "pool_garch_har")


def fit_cases(size: Size) -> list[Case]:
    """Each model fitted to N symbols and to twice as many: nothing is kept between two runs."""
    few, many = (market(n, size.bars) for n in (size.symbols, 2 * size.symbols))

    def way(name: str, panel: Panel) -> Way:
        def run() -> None:
            memo.forget()
            BASELINES[name].fit(panel, HORIZONS)

        return Way(name=f"{len(panel)} symbols", run=run, work=len(panel))

    return [
        Case(label=name, unit="symbols", ways=(way(name, few), way(name, many))) for name in FITTED
    ]


def token_cases(size: Size) -> list[Case]:
    """A tokeniser fitted, and bars tokenised by it, of N symbols and of twice as many."""
    few, many = (market(n, size.bars) for n in (size.symbols, 2 * size.symbols))
    tokenizer = fit_tokenizer(few, HORIZONS, size.learner)
    doings: dict[str, Callable[[Panel], object]] = {
        "fit": lambda panel: fit_tokenizer(panel, HORIZONS, size.learner),
        "tokenise": lambda panel: tokenise(panel, tokenizer),
    }

    def way(panel: Panel, doing: Callable[[Panel], object]) -> Way:
        def run() -> None:
            memo.forget()
            doing(panel)

        return Way(name=f"{len(panel)} symbols", run=run, work=len(panel) * size.bars)

    return [
        Case(label=label, unit="bars", ways=(way(few, doing), way(many, doing)))
        for label, doing in doings.items()
    ]


def scoring_cases(size: Size) -> list[Case]:
    """Families of distributions against the Gaussian, then the pool at N origins and at 2N."""
    panel = market(1, size.bars)
    last = len(panel.members[0]) - max(HORIZONS)
    whole = Origins(*_last_bars(last, 2 * size.origins))
    half = Origins(*_last_bars(last, size.origins))
    family = [_scored(name, panel, half) for name in SCORED]
    twice = (
        replace(family[-1], name="half"),
        replace(_scored(SCORED[-1], panel, whole), name="all"),
    )
    return [
        Case(label=f"{size.origins} origins", unit="rows", ways=tuple(family)),
        Case(label=f"{SCORED[-1]}, {2 * size.origins} origins", unit="rows", ways=twice),
    ]


def _last_bars(last: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.zeros(count, dtype=np.int64), np.arange(last - count, last)


def _scored(name: str, panel: Panel, origins: Origins) -> Way:
    """Everything that a cell does after a fit."""
    fitted = BASELINES[name].fit(panel, HORIZONS)
    keys = scores.question(panel, origins, HORIZONS)
    y, _ = scores.truth(panel, origins, HORIZONS)
    where = frames.Provenance("bench", 0, panel.interval)

    def run() -> None:
        distribution = fitted.forecast(panel, origins, HORIZONS)
        frames.forecast_table(keys, distribution, name, where)
        scores.score(keys, distribution, y, name, 0)

    return Way(name=name, run=run, work=y.size)

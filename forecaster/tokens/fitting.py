"""How a tokeniser is fitted: on a history alone."""

from collections.abc import Sequence

import numpy as np

from forecaster.bars import Panel
from forecaster.config import LearnerConfig
from forecaster.errors import DataError
from forecaster.features import GEOMETRY, WARM_UP, Features, features, known_moments
from forecaster.tokens.edges import field_edges, return_edges, uniform_edges
from forecaster.tokens.levels import fit_level_prior
from forecaster.tokens.prior import Prior, fit_harx_prior, fit_range_prior
from forecaster.tokens.tokenizer import BarTokenizer, raw_inputs
from forecaster.tokens.variance import fit_variance


def fit_tokenizer(history: Panel, horizons: Sequence[int], learner: LearnerConfig) -> BarTokenizer:
    """A tokeniser of all symbols' bars of the history. Raises DataError where there are too few."""
    known = [features(bars) for bars in history]
    geometry = np.concatenate([each.geometry[WARM_UP:] for each in known])
    if len(geometry) < 2 * learner.return_bins:
        raise DataError(
            f"{', '.join(history.symbols)}: {len(geometry)} bars after the first {WARM_UP} of each,"
            f" needs at least {2 * learner.return_bins} for {learner.return_bins} bins;"
            " fetch more history"
        )
    prior = fit_prior(history, known, horizons, learner)
    if learner.tokens == "levels":
        edges = (tuple(uniform_edges(learner.field_bins).tolist()),) * len(GEOMETRY)
        mean, deviation = np.zeros(1), np.ones(1)
    else:
        edges = tuple(field_edges(x, learner.field_bins) for x in geometry.T)
        inputs = [raw_inputs(prior, b, f)[WARM_UP:] for b, f in zip(history, known, strict=True)]
        mean, deviation = known_moments(np.concatenate(inputs))
    returns = return_edges(learner.tokens, prior.base(), learner.return_bins)
    tokenizer = BarTokenizer(
        kind=learner.tokens,
        prior=prior,
        fitted_until=str(history.clock[-1]),
        field_edges=edges,
        field_bins=learner.field_bins,
        return_edges=tuple(map(tuple, returns.tolist())),
        input_mean=tuple(mean.tolist()),
        input_deviation=tuple(deviation.tolist()),
    )
    if not learner.variance_tokens:
        return tokenizer
    tokens = [tokenizer.encode_returns(b, f) for b, f in zip(history, known, strict=True)]
    variance = fit_variance(history, horizons, tokens, tokenizer.bin_masses())
    return tokenizer.model_copy(update={"variance": variance})


def fit_prior(
    history: Panel, known: Sequence[Features], horizons: Sequence[int], learner: LearnerConfig
) -> Prior:
    """What an untaught network forecasts."""
    match learner.tokens:
        case "prior":
            return fit_harx_prior(history, horizons)
        case "scaled" | "uniform":
            return fit_range_prior(history, known, horizons)
        case "levels":
            return fit_level_prior(history, horizons, learner.context)

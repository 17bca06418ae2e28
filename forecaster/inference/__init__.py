"""Is it real: tests, intervals, sets, breakdowns and calibration, all on per-date means.

Scores of one date are averaged over symbols first: symbols move together, dates are the sample.
"""

from forecaster.inference.bootstrap import (
    ConfidenceSet,
    Intervals,
    block_length,
    confidence_set,
    intervals,
    superior,
)
from forecaster.inference.breakdown import Part, Subsamples, parts, subsamples, volatility_terciles
from forecaster.inference.calibration import calibration, rank_correlation
from forecaster.inference.losses import (
    Losses,
    date_means,
    losses_at,
    losses_of,
    mean_per_date,
    per_date,
)
from forecaster.inference.mean_tests import (
    SIZE,
    detectable,
    diebold_mariano,
    fewest,
    hac_lags,
    standard_errors,
)
from forecaster.inference.multiplicity import after_trials, holm
from forecaster.inference.sharpe import deflated_sharpe, sharpe, sharpe_difference, sharpe_estimate
from forecaster.inference.skill import Skill, best_naive, best_of, compare, p_text, skill, verdict

__all__ = [
    "SIZE",
    "ConfidenceSet",
    "Intervals",
    "Losses",
    "Part",
    "Skill",
    "Subsamples",
    "after_trials",
    "best_naive",
    "best_of",
    "block_length",
    "calibration",
    "compare",
    "confidence_set",
    "date_means",
    "deflated_sharpe",
    "detectable",
    "diebold_mariano",
    "fewest",
    "hac_lags",
    "holm",
    "intervals",
    "losses_at",
    "losses_of",
    "mean_per_date",
    "p_text",
    "parts",
    "per_date",
    "rank_correlation",
    "sharpe",
    "sharpe_difference",
    "sharpe_estimate",
    "skill",
    "standard_errors",
    "subsamples",
    "superior",
    "verdict",
    "volatility_terciles",
]

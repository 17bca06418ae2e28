"""Truth joins here, alone: outcomes, scores of single forecasts, and their averages."""

from forecaster.scores.risk import ASKED
from forecaster.scores.rows import COVERAGES, PIT_BINS, averages, check_rows, score, summarise
from forecaster.scores.truth import question, realised_variance, truth, with_truth

__all__ = [
    "ASKED",
    "COVERAGES",
    "PIT_BINS",
    "averages",
    "check_rows",
    "question",
    "realised_variance",
    "score",
    "summarise",
    "truth",
    "with_truth",
]

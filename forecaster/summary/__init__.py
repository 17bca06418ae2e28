"""What a backtest found, as one JSON record: every model beside the naive ones, in words too."""

from forecaster.summary.record import summarise
from forecaster.summary.tried import enter_trial, trial_of

__all__ = ["enter_trial", "summarise", "trial_of"]

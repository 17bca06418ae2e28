"""What each command does once its line is parsed: typed arguments in, words and records out."""

from forecaster.commands.backtesting import Backtest, backtest
from forecaster.commands.fetching import Fetch, fetch
from forecaster.commands.past_runs import RunsLs, RunsShow, runs_ls, runs_show
from forecaster.commands.training import Predict, Train, predict, train

__all__ = [
    "Backtest",
    "Fetch",
    "Predict",
    "RunsLs",
    "RunsShow",
    "Train",
    "backtest",
    "fetch",
    "predict",
    "runs_ls",
    "runs_show",
    "train",
]

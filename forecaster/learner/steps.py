"""How long to train: as many passes over the history as it bears."""

from forecaster.bars import Panel
from forecaster.config import LearnerConfig

# Measured on 2006-2011 in earlier experiments: 3 to 7 passes over the bars are best, 100 steps of
# 16 windows x 64 bars for six series, 300 for twenty; twice as many over-fit.
PASSES = 5
FEWEST, MOST = 100, 1000
# Symbols of one market move together: what many say on few dates is soon learnt by heart.
FEW_DATES, MOST_OF_FEW = 1000, 300


def steps_for(history: Panel, learner: LearnerConfig) -> int:
    """The config's steps, or what the history bears."""
    if learner.steps is not None:
        return learner.steps
    wanted = PASSES * sum(len(bars) for bars in history) // (learner.batch * learner.context)
    most = MOST_OF_FEW if len(history.clock) < FEW_DATES else MOST
    return min(max(wanted, FEWEST), most)

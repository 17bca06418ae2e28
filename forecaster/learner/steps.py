"""How long to train: as many passes over the history as it bears."""

from forecaster.bars import Panel
from forecaster.config import LearnerConfig

# Measured on 2006-2011 in earlier experiments: 3 to 7 passes over the bars are best, 100 steps of
# 16 windows x 64 bars for six series, 300 for twenty; twice as many over-fit.
PASSES = 5
FEWEST, MOST = 100, 1000
# A shorter history bears proportionally fewer: 100 steps are 50 passes over 2,000 bars, which are
# learnt by heart (the first half of a year of hourly EURUSD: 0.016 nats lost to the prior, t -4.4).
ENOUGH = 7500  # bars; six series of 2000-2005, where the above was chosen, have a few more
# Symbols of one market move together: what many say on few dates is soon learnt by heart.
FEW_DATES, MOST_OF_FEW = 1000, 300


def steps_for(history: Panel, learner: LearnerConfig) -> int:
    """The config's steps, or what the history bears."""
    if learner.steps is not None:
        return learner.steps
    bars = sum(len(bars) for bars in history)
    wanted = PASSES * bars // (learner.batch * learner.context)
    fewest = max(FEWEST * min(bars, ENOUGH) // ENOUGH, 1)
    most = MOST_OF_FEW if len(history.clock) < FEW_DATES else MOST
    return min(max(wanted, fewest), most)

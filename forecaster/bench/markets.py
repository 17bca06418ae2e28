"""What benches run on: made-up bars, as many symbols and bars as are asked for, and no store."""

from dataclasses import dataclass, field

from forecaster.bars import Panel
from forecaster.config import LearnerConfig
from forecaster.sources.synthetic import LAWS, simulate

HORIZONS = (1, 5, 20)


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large the things are that are timed."""

    symbols: int = 4
    bars: int = 3000  # of a symbol
    origins: int = 1000  # of a symbol's last bars that are forecast and scored
    paths: int = 200
    steps: int = 20  # bars of a path
    starts: int = 40  # origins of paths
    learner: LearnerConfig = field(default_factory=LearnerConfig)


def market(symbols: int, bars: int) -> Panel:
    """GARCH-1, GARCH-2, ..."""
    names = [f"GARCH-{i}" for i in range(1, symbols + 1)]
    law = LAWS["GARCH"]
    return Panel(tuple(simulate(law, i, bars, name) for i, name in enumerate(names, start=1)))

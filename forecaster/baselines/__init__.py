"""Every baseline by name.

The same protocol as the learner's: the backtest cannot tell them apart.
"""

import math

from forecaster.baselines.boosted import BoostedQuantiles
from forecaster.baselines.empirical import HarEmpirical
from forecaster.baselines.expanding import ExpandingGaussian, ExpandingStudentT, Seasonal
from forecaster.baselines.harx import HarxSkewT
from forecaster.baselines.naive import Drift, Historical, RandomWalk, WindowVolatility
from forecaster.baselines.pool import Pool
from forecaster.baselines.simulation import FilteredHistorical
from forecaster.baselines.skewed import GarchSkewT
from forecaster.baselines.volatility import (
    EwmaGaussian,
    EwmaStudentT,
    GarchStudentT,
    RangeStudentT,
)
from forecaster.econometrics.harx import RHO
from forecaster.errors import UsageError, suggestion
from forecaster.protocol import Forecaster

NAIVE: tuple[Forecaster, ...] = (
    RandomWalk(),
    Drift(),
    Historical(250),
    Historical(1000),
    ExpandingGaussian(),
    ExpandingStudentT(),
    WindowVolatility(20),
    Seasonal(20),
)
VOLATILITY: tuple[Forecaster, ...] = (
    EwmaGaussian(),
    EwmaStudentT(),
    GarchStudentT(),
    RangeStudentT(),
    GarchSkewT("GJR"),
    GarchSkewT("EGARCH"),
    FilteredHistorical(),
    HarEmpirical(),
    BoostedQuantiles(),
    HarxSkewT("harx_own", 0.0),
    HarxSkewT("harx_pooled", math.inf),
    HarxSkewT("harx", RHO),
)
CLASSICAL = {each.name: each for each in VOLATILITY}


def _pool(name: str, *members: str) -> Pool:
    return Pool(name, tuple(CLASSICAL[each] for each in members))


POOLS = (
    _pool("pool_garch_har", "gjr_skew_t", "har_empirical"),
    _pool("pool_classical", "harx", "har_empirical", "egarch_skew_t", "boosted_quantiles"),
)
BASELINES: dict[str, Forecaster] = {each.name: each for each in (*NAIVE, *VOLATILITY, *POOLS)}
NAIVE_NAMES = tuple(each.name for each in NAIVE)


def choose(names: tuple[str, ...]) -> tuple[Forecaster, ...]:
    """Baselines by name; `all` and `naive` are groups. The naive ones are always in.

    They are the bar that every other row is measured against. Raises UsageError for a name that
    is not one.
    """
    wanted = set(NAIVE_NAMES)
    for name in names:
        if name == "all":
            wanted |= set(BASELINES)
        elif name != "naive" and name not in BASELINES:
            raise UsageError(f"baseline {name!r} is unknown{suggestion(name, BASELINES)}")
        else:
            wanted |= {name} - {"naive"}
    return tuple(each for name, each in BASELINES.items() if name in wanted)

"""Every bench by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from forecaster.bench.clock import Case
from forecaster.bench.markets import Size
from forecaster.bench.models import fit_cases, scoring_cases, token_cases
from forecaster.bench.path_bench import path_cases
from forecaster.bench.whole import backtest_cases
from forecaster.errors import UsageError, suggestion

SCALING = "scaling"  # no ratio of ways but a table and a page: `whole.extents`


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Cases of one subject."""

    about: str
    cases: Callable[[Size], list[Case]]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a bench is run."""

    rounds: int
    size: Size


BENCHES: dict[str, Bench] = {
    "fits": Bench(about="econometric fits of N symbols and of 2N", cases=fit_cases),
    "tokens": Bench(about="tokenisers and tokens of N symbols and of 2N", cases=token_cases),
    "scoring": Bench(about="forecast, table and scores by family", cases=scoring_cases),
    "paths": Bench(about="sampled bars", cases=path_cases),
    "backtest": Bench(about="whole backtests: symbols, processes", cases=backtest_cases),
}


def chosen(names: Sequence[str]) -> tuple[str, ...]:
    """Benches in the order given, each once; all but `scaling` where none is named.

    Raises UsageError for an unknown one.
    """
    known = (*BENCHES, SCALING)
    for name in names:
        if name not in known:
            raise UsageError(f"bench {name!r} is unknown{suggestion(name, known)}")
    return tuple(dict.fromkeys(names)) or tuple(BENCHES)

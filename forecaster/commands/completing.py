"""What a shell may complete besides commands and options: runs, symbols, presets, baselines."""

from pathlib import Path
from typing import TYPE_CHECKING

from forecaster.errors import ForecasterError

if TYPE_CHECKING:
    from forecaster.runs import RunFolder

GROUPS = ("all", "naive")
KINDS = {"backtest", "train"}  # of runs: texts have others, beside them
# Those of `forecaster.baselines`, which takes seconds to import; a test holds them to each other.
BASELINES = (
    *("random_walk", "drift", "historical_250", "historical_1000", "expanding_gaussian"),
    *("expanding_student_t", "volatility_20", "seasonal_20", "ewma_gaussian", "ewma_student_t"),
    *("garch_student_t", "range_student_t", "gjr_skew_t", "egarch_skew_t", "filtered_historical"),
    *("har_empirical", "boosted_quantiles", "harx_own", "harx_pooled", "harx"),
    *("pool_garch_har", "pool_classical"),
)


def runs(kind: str | None = None) -> list[str]:
    """Runs of a kind, or of any, where runs lie unless --out says otherwise; newest first."""
    from forecaster.runs import list_runs

    wanted = {kind} if kind else KINDS
    return [str(each.path) for each in reversed(list_runs()) if _kind(each) in wanted]


def _kind(run: "RunFolder") -> str | None:
    """None where a run is damaged, or another program's."""
    try:
        return run.read_json("status.json").get("kind")
    except ForecasterError:
        return None


def symbols(store: Path) -> list[str]:
    """Symbols that a store holds."""
    from forecaster.store import Store

    return sorted({str(entry.symbol) for entry in Store(store).entries()})


def bundled() -> list[str]:
    """Symbols that need no network."""
    from forecaster.sources.bundled import CATALOGUE

    return [str(symbol) for symbol in CATALOGUE]


def presets() -> list[str]:
    """Backbones, and the control without attention."""
    from backbones.presets import PRESETS

    return [*PRESETS, "mlp"]


def baselines() -> list[str]:
    """Rows beside the learner, and groups of them."""
    return [*GROUPS, *BASELINES]

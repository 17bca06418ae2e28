"""A finished backtest goes into the ledger of its bars, and its verdicts are read in that light."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from forecaster import inference, ledger
from forecaster.backtest import Plan
from forecaster.errors import LockedError, StorageError
from forecaster.ledger import Trial


def enter_trial(plan: Plan, record: dict[str, Any], root: Path, data_digest: str) -> dict[str, Any]:
    """What summary.json says under `ledger`; a ledger that cannot be written is said there too."""
    trial = trial_of(plan, record, data_digest)
    path = str(root / ledger.NAME)
    try:
        book = ledger.enter(root, trial)
    except (StorageError, LockedError) as error:
        return {"path": path, "note": f"not in the ledger: {error}"}
    found: dict[str, Any] = {
        "path": path,
        "configurations": len(book.rivals(trial)),
        "openings": len(book.openings(trial)),
    }
    if book.damaged:
        listed = ", ".join(map(str, book.damaged))
        found["note"] = f"damaged in line {listed}: there were at least so many"
    return found | standing(record["comparisons"], found["configurations"])


def trial_of(plan: Plan, record: dict[str, Any], data_digest: str) -> Trial:
    """A backtest as its ledger has it, by its plan and its summary."""
    return Trial(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        config=plan.config.digest,
        data=data_digest,
        symbols=tuple(map(str, plan.panel.symbols)),
        interval=plan.panel.interval,
        test_from=record["test_from"],
        test_until=record["test_until"],
        vault=plan.config.vault,
        headline=_headline(record),
    )


def standing(comparisons: list[dict[str, Any]], trials: int) -> dict[str, int]:
    """How many printed wins there are at 5 %, after Holm, and after Holm times the trials.

    The last treats the run as the best of all that were tried (Bonferroni): cautious, for trials
    on the same bars resemble each other.
    """
    wins = [c for c in comparisons if c["printed"] and (c["crps_skill"] or 0) > 0]
    p = [(c["p"], c["holm_p"]) for c in wins if c["p"] is not None]
    return {
        "wins": sum(raw < inference.SIZE for raw, _ in p),
        "wins_after_holm": sum(holm < inference.SIZE for _, holm in p),
        "wins_after_trials": sum(
            inference.after_trials(holm, trials) < inference.SIZE for _, holm in p
        ),
    }


def _headline(record: dict[str, Any]) -> str:
    """What the learners won at the shortest horizon, or else the best model there."""
    h = record["horizons"][0]
    gains = [
        f"{c['model']} over {c['reference']} {c['log_score_gain']:+.4f} nats,"
        f" {c['crps_skill']:+.2%}"
        for c in record["comparisons"]
        if c["h"] == h and c["printed"]
    ]
    rows = [row for row in record["rows"] if row["h"] == h]
    best = min(rows, key=lambda row: row["crps"])
    return f"h={h}: " + ("; ".join(gains) or f"best {best['model']}")

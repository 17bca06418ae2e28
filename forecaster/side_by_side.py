"""Two runs beside each other: settings, bars, and scores on the forecasts that both have made.

A is the run named first, B the second. A gain is B less A: above 0 where B is better.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from forecaster import frames, inference
from forecaster.errors import UsageError
from forecaster.runs import RunFolder
from forecaster.settings import flat

ROWS = ["unique_id", "cutoff"]  # name a forecast of a model at a horizon
SUMMED_UP = ("parameters", "steps", "loss_nats", "untaught_loss_nats")  # of a training


def compare(a: RunFolder, b: RunFolder) -> dict[str, Any]:
    """Everything in which they differ, as one record.

    Raises UsageError for runs of two kinds, and what opening a damaged one raises.
    """
    kinds = [run.read_json("status.json")["kind"] for run in (a, b)]
    if kinds[0] != kinds[1]:
        raise UsageError(f"{a.path} is a {kinds[0]}, {b.path} a {kinds[1]}: compare two of a kind")
    data = [run.read_json("data.json") for run in (a, b)]
    record: dict[str, Any] = {
        "runs": [str(a.path), str(b.path)],
        "kind": kinds[0],
        "same_bars": data[0]["digest"] == data[1]["digest"],
        "settings": differences(*(run.config().model_dump(mode="json") for run in (a, b))),
        "environment": differences(*(_environment(run) for run in (a, b))),
    }
    if kinds[0] == "backtest":
        return record | scores_of(a, b)
    summaries = [run.read_json("summary.json") for run in (a, b)]
    return record | {
        "results": [
            {"key": key, "a": summaries[0].get(key), "b": summaries[1].get(key)}
            for key in SUMMED_UP
            if any(key in each for each in summaries)
        ]
    }


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Keys, dotted, whose values are not equal; None where one side lacks the key."""
    left, right = dict(flat(a)), dict(flat(b))
    return [
        {"key": key, "a": left.get(key), "b": right.get(key)}
        for key in dict.fromkeys([*left, *right])
        if left.get(key) != right.get(key)
    ]


def scores_of(a: RunFolder, b: RunFolder) -> dict[str, Any]:
    """Mean scores of every model of both on their common rows, and of the runs' first learners.

    `outcomes_differ`: common rows whose outcome is not the same in both, as after a dividend.
    """
    names = [list(run.read_json("summary.json")["seconds"]) for run in (a, b)]
    pairs = [(name, name) for name in names[0] if name in names[1]]
    one, other = _first_learner(a, names[0]), _first_learner(b, names[1])
    if one is not None and other is not None and one != other:
        pairs.append((one, other))
    left, right = _scores(a, {pair[0] for pair in pairs}), _scores(b, {pair[1] for pair in pairs})
    found = [row for pair in pairs for row in _compared(pair, left[pair[0]], right[pair[1]])]
    odd = sum(row.pop("odd") for row in found)
    return {
        "scores": sorted(found, key=lambda row: row["h"]),
        "alone": [[n for n in mine if n not in others] for mine, others in (names, names[::-1])],
        "outcomes_differ": odd,
    }


def _first_learner(run: RunFolder, names: list[str]) -> str | None:
    return next((preset for preset in run.config().presets if preset in names), None)


def _scores(run: RunFolder, models: set[str]) -> dict[str, pd.DataFrame]:
    table = frames.read(run.path / "scores.parquet", frames.SCORES)
    rows = table.select([*ROWS, "model", "h", "log_score", "crps", "y"]).to_pandas()
    return {model: rows[rows["model"] == model] for model in models}


def _compared(pair: tuple[str, str], a: pd.DataFrame, b: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """One row a horizon that both have."""
    both = a.merge(b, on=[*ROWS, "h"], suffixes=("_a", "_b"))
    for h in sorted(set(both["h"].tolist())):
        rows = both[both["h"] == h]
        dates = rows.groupby("cutoff")[["log_score_a", "log_score_b", "crps_a", "crps_b"]].mean()
        one, other = (dates[f"log_score_{side}"].to_numpy() for side in "ab")
        enough = len(dates) >= inference.fewest(h)
        p = inference.diebold_mariano(-one, -other, h)[2] if enough else None
        yield {
            "models": list(pair),
            "h": h,
            "n": len(rows),
            "dates": len(dates),
            "log_score": [float(rows[f"log_score_{side}"].mean()) for side in "ab"],
            "gain": float((other - one).mean()),
            "p": p,
            "crps": [float(rows[f"crps_{side}"].mean()) for side in "ab"],
            "odd": int((rows["y_a"] != rows["y_b"]).sum()),
        }


def pair_name(models: list[str]) -> str:
    """One name where both runs have the same model."""
    return models[0] if models[0] == models[1] else f"{models[0]} | {models[1]}"


def shown(value: Any) -> str:
    """A setting's value; nothing where a run has none."""
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _environment(run: RunFolder) -> dict[str, Any]:
    where = run.read_json("environment.json")
    return {key: where[key] for key in ("forecaster", "python", "platform", "packages")}

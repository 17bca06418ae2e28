"""`forecaster strategy`: positions sized by a run's forecasts, their ledger, and what they made."""

import io
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Table
from rich.text import Text

from forecaster import backtest, display, frames, ledger, workflows
from forecaster.atomic import commit_bytes
from forecaster.commands.arguments import Output, listed
from forecaster.errors import UsageError
from forecaster.runs import find_run
from forecaster.strategy import RIVALS, Question, study
from forecaster.strategy.account import MOST_COST
from forecaster.strategy.book import BASIS_POINT
from forecaster.summary import trial_of

LEDGER = "strategy.parquet"


@dataclass(frozen=True, kw_only=True)
class Strategy(Output):
    """Arguments of `forecaster strategy`."""

    run: Path
    model: str | None = None
    cost_bp: str = "0,1,2,5,10,20"
    target_volatility: float = 0.1
    store: Path = Path("data")
    out: Path | None = None


def strategy(given: Strategy) -> None:
    """Trade, keep the ledger, show. UsageError where a ledger of something else is in the way."""
    costs = _costs(given.cost_bp)
    run = find_run(given.run, "backtest")
    run.require_done()
    config = run.config()
    panel, digest = workflows.load_panel(config, given.store, given.say)
    workflows.refuse_other_data(run, panel, digest)
    plan = backtest.plan(config, panel, (), digest)  # its bars end where the run's do
    trial = trial_of(plan, run.read_json("summary.json"), digest)
    book = ledger.read(given.store)
    asked = Question(
        model=given.model or (*config.presets, *RIVALS)[0],
        costs_bp=costs,
        target=given.target_volatility,
        trials=len(book.rivals(trial)),
    )
    record, table = study(plan.panel, frames.read(run.path / "predictions.parquet"), asked)
    if book.damaged:
        record["notes"].append(f"{given.store / ledger.NAME} is damaged: there were more trials")
    about = {"run_id": plan.run_id, "model": asked.model, "target_volatility": asked.target}
    path = given.out or run.path / LEDGER
    _keep(path, table, about)
    if not given.result(record | {"run": str(run.path), "ledger": str(path)}):
        show(record)
        display.print_line(f"ledger: {path}")


def _costs(text: str) -> tuple[float, ...]:
    """`0,1.5` -> (0.0, 1.5), ascending. Raises UsageError naming what is no cost."""
    most, found = MOST_COST / BASIS_POINT, []
    for word in listed(text) or ():
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not 0 <= value <= most:
            raise UsageError(f"--cost-bp {word!r}: wanted basis points from 0 to {most:g}")
        found.append(value)
    return tuple(sorted(set(found)))


def _keep(path: Path, table: pa.Table, about: dict[str, Any]) -> None:
    """Write the ledger where nothing is; the same ledger again is no change."""
    out = io.BytesIO()
    text = json.dumps(about, sort_keys=True, allow_nan=False)
    pq.write_table(table.replace_schema_metadata({"forecaster": text}), out, compression="zstd")
    if path.exists():
        if path.is_file() and path.read_bytes() == out.getvalue():
            return
        raise UsageError(f"{path} exists and holds something else; name another place with --out")
    commit_bytes(path, out.getvalue())


def show(record: dict[str, Any]) -> None:
    """Sharpe by cost, one cost in full, differences, and what the figures do not say."""
    costs = sorted({row["cost_bp"] for row in record["rows"]})
    middle = costs[len(costs) // 2]
    display.print_table(by_cost(record, costs))
    display.print_table(in_full(record, middle))
    for found in record["differences"]:
        if found["cost_bp"] == middle:
            display.print_line(_difference(found))
    for line in record["notes"]:
        display.print_line(f"note: {line}")


def by_cost(record: dict[str, Any], costs: list[float]) -> Table:
    """Sharpe ratios, a row a strategy, a column a cost; the cost that eats the difference."""
    title = f"Sharpe by cost a side [bp], decisions {record['from']} to {record['until']}"
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.caption = "Break-even: the cost at which it is that of buying and holding at that cost."
    table.add_column("strategy")
    for cost in costs:
        table.add_column(f"{cost:g}", justify="right")
    table.add_column("break-even [bp]", justify="right")
    even = {each["strategy"]: each for each in record["break_even"]}
    for name in dict.fromkeys(row["strategy"] for row in record["rows"]):
        rows = {row["cost_bp"]: row for row in record["rows"] if row["strategy"] == name}
        shown = [f"{s[0]:.2f}" if (s := rows[c]["sharpe"]) else "undefined" for c in costs]
        table.add_row(Text(name), *shown, _break_even(even.get(name)))
    return table


def in_full(record: dict[str, Any], cost: float) -> Table:
    """Everything that was measured, at one cost."""
    target = 100 * record["target_volatility"]
    table = Table(
        title=f"at {cost:g} bp a side, {record['rows'][0]['n']} bars",
        title_justify="left",
        caption_justify="left",
    )
    table.caption = (
        "Volatility [% a year]: of the whole; own: mean over symbols of each account's, target"
        f" {target:g}.\nTurnover: value traded a year over equity. DSR: probability that the true"
        f" Sharpe is above zero,\nif this is the best of the ledger's count of configurations on"
        f" these bars, {record['trials']}."
    )
    table.add_column("strategy")
    for name in (
        "Sharpe\n[95 %]",
        "return\n[% a year]",
        "volatility\nwhole/own",
        "max.\nfall [%]",
        "turn-\nover",
        "mean\nweight",
        "DSR",
    ):
        table.add_column(name, justify="right")
    for row in record["rows"]:
        if row["cost_bp"] != cost:
            continue
        own, dsr = row["volatility_of_symbols"], row["deflated_sharpe"]
        table.add_row(
            Text(row["strategy"]),
            _interval(row["sharpe"]),
            f"{100 * row['return_annual']:+.1f}",
            f"{100 * row['volatility']:.1f}/{'' if own is None else f'{100 * own:.1f}'}",
            f"{100 * row['max_drawdown']:.1f}",
            f"{row['turnover']:.2f}",
            f"{row['mean_weight']:.2f}",
            "undefined" if dsr is None else f"{dsr:.3f}",
        )
    return table


def _difference(found: dict[str, Any]) -> str:
    """One strategy less another, in words."""
    what = f"{found['strategy']} less {found['reference']} at {found['cost_bp']:g} bp"
    if found["sharpe"] is None:
        return f"{what}: Sharpe undefined: too few returns, or still ones"
    _, low, high = found["sharpe"]
    verdict = "ahead" if low > 0 else "behind" if high < 0 else "no difference shown"
    return f"{what}: Sharpe {_interval(found['sharpe'], '+')}: {verdict}"


def _interval(found: list[float] | None, sign: str = "") -> str:
    if found is None:
        return "undefined"
    value, low, high = (f"{x:{sign}.2f}" for x in found)
    return f"{value} [{low}, {high}]"


def _break_even(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    return found["why"] if found["cost_bp"] is None else f"{found['cost_bp']:.1f}"

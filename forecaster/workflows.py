"""What the commands do, without a command line: bars in, a run folder and a record out."""

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from forecaster import backtest, stages
from forecaster.backtest import Cell, Plan
from forecaster.bars import Floats, Panel
from forecaster.baselines import choose
from forecaster.config import RunConfig
from forecaster.engine import Engine
from forecaster.errors import CheckpointError, GateError
from forecaster.fetching import FetchRequest, fetch
from forecaster.protocol import Forecaster
from forecaster.runs import RunFolder
from forecaster.sources.bundled import CATALOGUE
from forecaster.stages import stage
from forecaster.store import Store
from forecaster.summary import enter_trial, summarise


@dataclass(frozen=True)
class Watch:
    """Who is told what while a run runs."""

    say: Callable[[str], None]
    on_cell: Callable[[Cell, Plan], None]


def load_panel(
    config: RunConfig, root: Path, say: Callable[[str], None], *, dry_run: bool = False
) -> tuple[Panel, str]:
    """Adjusted bars of the config's symbols and the digest of what was stored.

    Symbols that the store lacks and the bundled source has are fetched first; by a dry run, into
    a folder that is gone afterwards.
    """
    if dry_run:
        with TemporaryDirectory() as folder:
            if root.is_dir():
                shutil.copytree(root, folder, dirs_exist_ok=True)
            return load_panel(config, Path(folder), lambda _: None)
    store = Store(root)
    stored = {entry.symbol for entry in store.entries() if entry.interval == config.interval}
    lacking = [s for s in config.symbols if s not in stored and s in CATALOGUE]
    if lacking and config.interval == "1d":
        fetch(FetchRequest(symbols=tuple(lacking), source="bundled", store=root))
        say(f"fetched {', '.join(lacking)} from the bundled source into {root}")
    panel = stored_panel(config, root)
    digest = store.digest(config.symbols, config.interval)
    return panel.adjusted(), digest


def stored_panel(config: RunConfig, root: Path) -> Panel:
    """The config's bars in prices as printed, all of which the store must hold."""
    return Store(root).panel(config.symbols, config.interval)


def printed_over_adjusted(config: RunConfig, root: Path) -> Floats:
    """[symbols] what makes printed prices of adjusted ones, at each symbol's last bar."""
    panel = stored_panel(config, root)
    return np.array([1 / bars.adjustment[-1] for bars in panel])


def forecasters(config: RunConfig) -> tuple[Forecaster, ...]:
    """Baselines, then one learner a preset. Raises UsageError for an unknown name of either."""
    from forecaster.pooled import learners

    return (*choose(config.baselines), *learners(config))


def plan_backtest(
    config: RunConfig, root: Path, say: Callable[[str], None], *, dry_run: bool = False
) -> tuple[Plan, str]:
    """Everything that can be refused is refused here, before a run folder exists."""
    models = forecasters(config)
    with stage("reading"):
        panel, digest = load_panel(config, root, say, dry_run=dry_run)
    return backtest.plan(config, panel, models, digest), digest


def new_run(plan: Plan, data_digest: str, out: Path | None) -> RunFolder:
    """The folder of a backtest that begins."""
    data = describe_data(plan.panel, data_digest) | {"run_id": plan.run_id}
    return RunFolder.create(out, "backtest", plan.config, data)


def resumed_run(path: Path, plan: Plan, data_digest: str) -> RunFolder:
    """The folder that goes on. Raises CheckpointError where bars or config have changed."""
    run = RunFolder.open(path, "backtest")
    refuse_other_data(run, plan.panel, data_digest)
    before = run.read_json("data.json")["run_id"]
    if before != plan.run_id:
        raise CheckpointError(
            f"run {path} began as {before}, its config now says {plan.run_id}: start a new run"
        )
    run.go_on()
    return run


def refuse_other_data(run: RunFolder, panel: Panel, data_digest: str) -> None:
    """Raises CheckpointError, with a difference, where the run was made from other bars."""
    before = run.read_json("data.json")
    if before["digest"] == data_digest:
        return
    there, here = before.get("symbols", {}), describe_data(panel, data_digest)["symbols"]
    odd = next((name for name in sorted(here) if there.get(name) != here[name]), None)
    what = "other values on the same days" if odd is None else f"{odd}, {_span(there.get(odd))}"
    now = "" if odd is None else f", has {_span(here[odd])} by now"
    raise CheckpointError(
        f"run {run.path} was made from bars {before['digest'][:12]}, the store now holds"
        f" {data_digest[:12]} ({what}{now}): start a new run"
    )


def _span(bars: dict[str, Any] | None) -> str:
    """What data.json says of a symbol, in words."""
    return f"{bars['bars']} bars to {bars['last'][:10]}" if bars else "not in it"


def run_backtest(
    plan: Plan, run: RunFolder, engine: Engine, watch: Watch, book: tuple[Path, str] | None = None
) -> dict[str, Any]:
    """Compute what is missing, merge, summarise; the record of summary.json.

    `book`: the store whose ledger has the run, before anybody can read it, and its bars' digest.
    """
    try:
        backtest.execute(plan, run, engine, lambda cell: watch.on_cell(cell, plan))
        with stage("summary"):
            record = summarise(plan, run)
        if book is not None:
            record["ledger"] = enter_trial(plan, record, *book)
        run.write_json("summary.json", record)
    except KeyboardInterrupt:
        kept = len(list((run.path / "folds").glob("*.json")))
        run.finish("interrupted")
        watch.say(
            f"interrupted: {kept} of {len(plan.cells)} cells are kept;"
            f" go on with: forecaster backtest --resume {run.path}"
        )
        raise
    except Exception:
        run.finish("failed")
        raise
    run.finish("done")
    return record


def enter_stages(plan: Plan, run: RunFolder, here: stages.Account, wall: float) -> stages.Account:
    """CPU-seconds by stage, of all cells and of this process beside them, kept in stages.json.

    Cells that an earlier process kept have theirs in; what else it did is not known.
    """
    cells = [each.get("stages", {}) for each in backtest.records(plan, run)]
    spent = stages.added([here, *cells])
    run.write_json("stages.json", stages.record(spent, wall))
    return spent


def gate(record: dict[str, Any], presets: Sequence[str], least: float) -> None:
    """Raises GateError where a learner's skill [%] at the shortest horizon is below `least`."""
    h = record["horizons"][0]
    for row in record["rows"]:
        if row["model"] not in presets or row["h"] != h:
            continue
        skill = math.nan if row["skill"] is None else 100 * row["skill"]
        if not skill >= least:
            raise GateError(
                f"{row['model']}: skill {skill:+.2f} % over"
                f" {record['best_naive'][str(h)]} at h = {h}, --fail-under asks for {least:g} %"
            )


def describe_data(panel: Panel, digest: str) -> dict[str, Any]:
    """What the run was made from."""
    return {
        "digest": digest,
        "interval": panel.interval,
        "symbols": {
            str(bars.symbol): {
                "bars": len(bars),
                "first": str(bars.opened_at[0]),
                "last": str(bars.opened_at[-1]),
            }
            for bars in panel
        },
    }

"""`forecaster backtest`: plan, run or resume, show."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forecaster import display, stages, tables, workflows
from forecaster.backtest import Cell, Plan
from forecaster.commands.arguments import Configured, listed, refuse_with_resume
from forecaster.engine import Cluster, Engine, Local
from forecaster.errors import UsageError
from forecaster.folds import day_of
from forecaster.runs import RunFolder


@dataclass(frozen=True, kw_only=True)
class Backtest(Configured):
    """Arguments of `forecaster backtest`."""

    presets: tuple[str, ...] = ()
    baselines: str | None = None
    test_from: str | None = None
    refit_every: int | None = None
    quick: bool = False
    resume: Path | None = None
    fail_under: float | None = None
    jobs: int | None = None
    scheduler: str | None = None
    vault: bool = False
    open_vault: bool = False


def backtest(given: Backtest) -> None:
    """Plan, run or resume, show; GateError at the very end."""
    if given.resume:
        refuse_with_resume(given)
        config = RunFolder.open(given.resume, "backtest").config()
    else:
        config = given.resolved(
            quick=given.quick,
            presets=given.presets,
            baselines=listed(given.baselines),
            test_from=given.test_from,
            refit_every=given.refit_every,
            vault=vault_of(given),
        )
    began = time.perf_counter()
    with stages.account() as here:
        plan, digest = workflows.plan_backtest(
            config, given.store, given.say, dry_run=given.dry_run
        )
        engine = engine_of(given)
        if given.dry_run:
            show_plan(given, plan, engine)
            return
        run = (
            workflows.resumed_run(given.resume, plan, digest)
            if given.resume
            else workflows.new_run(plan, digest, given.out)
        )
        given.say(announce(plan, run, engine))
        record = with_progress(given, plan, run, (engine, digest))
        page = reported(run, plan)
    spent = workflows.enter_stages(plan, run, here, time.perf_counter() - began)
    if not given.result(record | {"run": str(run.path), "report": page and str(page)}):
        tables.print_summary(record, str(run.path))
        if page:
            display.print_line(f"report: {page}")
    given.say(stages.told(spent, str(engine)))
    if given.fail_under is not None:
        workflows.gate(record, config.presets, given.fail_under)


def reported(run: RunFolder, plan: Plan) -> Path | None:
    """The page of a run, if it could be made."""
    with stages.stage("report"):
        from forecaster import report  # plotly and jinja: not before there is something to draw

        return report.attempt(run, plan.panel)


def engine_of(given: Backtest) -> Engine:
    """Where cells are computed. Raises UsageError for two places."""
    if given.scheduler is None:
        return Local(given.jobs or os.cpu_count() or 1)
    if given.jobs is not None:
        raise UsageError("--jobs are processes here, --scheduler has its own: give one of them")
    return Cluster(given.scheduler)


def vault_of(given: Backtest) -> str | None:
    """What the flags say of the vault. Raises UsageError where they contradict each other."""
    if given.vault and given.open_vault:
        raise UsageError("--vault keeps it locked and --open-vault opens it: give one of them")
    return "open" if given.open_vault else "locked" if given.vault else None


def with_progress(
    given: Backtest, plan: Plan, run: RunFolder, how: tuple[Engine, str]
) -> dict[str, Any]:
    """Run under a progress bar whose steps are as long as cells usually take.

    `how`: where cells are computed, and the digest of the bars.
    """
    engine, digest = how
    total = sum(tables.cost(cell, plan) for cell in plan.cells)
    with display.progress(total, "cells", quiet=given.quiet) as meter:

        def on_cell(cell: Cell, plan: Plan) -> None:
            text = f"{cell.forecaster.name} to {day_of(cell.fold.test_until)}"
            meter.advance(tables.cost(cell, plan), text)

        watch = workflows.Watch(given.say, on_cell)
        return workflows.run_backtest(plan, run, engine, watch, (given.store, digest))


def announce(plan: Plan, run: RunFolder, engine: Engine) -> str:
    """What is about to be done."""
    folds, panel = plan.folds, plan.panel
    days = [day_of(moment) for moment in (folds[0].test_from, folds[-1].test_until)]
    return (
        f"backtest of {len(plan.forecasters)} models on {display.listed(panel.symbols)}:"
        f" {len(folds)} folds from {days[0]} to {days[1]}, {len(plan.cells)} cells,"
        f" {engine}, into {run.path}"
    )


def show_plan(given: Backtest, plan: Plan, engine: Engine) -> None:
    """The folds, on stdout, without touching a disk but for the bars fetched."""
    record = {
        "config": plan.config.model_dump(mode="json"),
        "models": [each.name for each in plan.forecasters],
        "folds": [
            {
                "fold": fold.index,
                "train_until": str(fold.train_until),
                "test_from": str(fold.test_from),
                "test_until": str(fold.test_until),
                "origins": len(fold.origins(plan.panel)),
            }
            for fold in plan.folds
        ],
        "engine": str(engine),
    }
    if not given.result(record):
        tables.print_plan(plan)

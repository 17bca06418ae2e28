"""Stages of a run's tables: predictions, truth, scores; bars appended, symbols in another order."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from forecaster import backtest
from forecaster.audit.bar_stages import closed
from forecaster.audit.emitted import Emitted, Finding, first_difference
from forecaster.audit.fold_stages import of_folds
from forecaster.audit.laws import Law, blind_to_the_future
from forecaster.audit.subject import Subject
from forecaster.bars import Panel, Times

APPENDED = 60  # bars


def of_cells(subject: Subject, panel: Panel) -> list[Emitted]:
    """Predictions known at their cutoff; truth and scores when the target's bar has closed."""
    out: list[Emitted] = []
    for each in subject.through_cells:
        cell = backtest.Cell(subject.fold, each)
        got = backtest.run_cell(panel, subject.horizons, "audit", cell)
        out += _by_symbol("predictions", got.predictions, panel, known="cutoff")
        out += _by_symbol("truth", got.predictions, panel, known="ds")
        out += _by_symbol("scores", got.scores, panel, known="ds")
    return out


def _by_symbol(what: str, table: pa.Table, panel: Panel, *, known: str) -> Iterator[Emitted]:
    """A table's numbers as an account a symbol, model and horizon; rows in order of cutoff."""
    frame = table.to_pandas()
    if what == "truth":
        columns = ["y"]
    else:
        columns = [c for c in frame if frame[c].dtype == float and c != "y"]
    members = {str(bars.symbol): bars for bars in panel}
    for (model, name, h), rows in frame.groupby(["model", "unique_id", "h"]):
        bars = members[name]
        rows = rows[rows[known] <= bars.opened_at[-1]]  # a target beyond the bars is only guessed
        moments = _closes(bars.opened_at, closed(bars), rows[known].to_numpy())
        yield Emitted(f"{what} of {model}, h = {h}", name, moments, rows[columns].to_numpy())


def _closes(opened: Times, closes: Times, labels: Times) -> Times:
    return closes[np.searchsorted(opened, labels.astype("datetime64[us]"))]


def truth_by_hand(subject: Subject, _: int) -> Finding | None:
    """`y` is ln C[t+h]/C[t] of the bar h later, by hand, and its label is that bar's."""
    each = subject.through_cells[0]
    cell = backtest.Cell(subject.fold, each)
    table = backtest.run_cell(subject.panel, subject.horizons, "audit", cell).predictions
    frame = table.to_pandas()
    for bars in subject.stored:
        rows = frame[frame["unique_id"] == str(bars.symbol)]
        at = np.searchsorted(bars.opened_at, rows["cutoff"].to_numpy().astype("datetime64[us]"))
        target = at + rows["h"].to_numpy()
        there = target < len(bars)
        close = bars.close * bars.adjustment
        want = np.log(close[np.minimum(target, len(bars) - 1)] / close[at])
        off = np.abs(rows["y"].to_numpy() - want) > 1e-12
        off |= rows["ds"].to_numpy() != bars.opened_at[np.minimum(target, len(bars) - 1)]
        off |= rows["y"].isna().to_numpy()
        if (off & there).any():
            t = int(np.argmax(off & there))
            row = rows.iloc[t]
            what = f"y = {row['y']:.6g} for {row['ds']:%Y-%m-%d} at h = {row['h']}, by hand"
            return Finding(f"{what} {want[t]:.6g}", str(bars.symbol), bars.label(int(at[t])))
    return None


def appended_bars_change_nothing(subject: Subject, _: int) -> Finding | None:
    """The walk without its last bars, and with them: the same folds, the same earlier rows."""
    panel, cut = subject.panel, subject.fold.test_until
    clock = panel.clock
    first = int(np.searchsorted(clock, subject.fold.test_from))
    cut = min(cut, clock[max(len(clock) - 1 - APPENDED, first)])
    short = panel.until(cut)
    found = first_difference(of_folds(subject, short), of_folds(subject, panel), cut)
    if found is not None:
        return found
    for each in subject.through_cells:
        tables = []
        for bars, fold in ((short, replace(subject.fold, test_until=cut)), (panel, subject.fold)):
            cell = backtest.Cell(fold, each)
            tables.append(backtest.run_cell(bars, subject.horizons, "audit", cell).predictions)
        early = _by_symbol("predictions", tables[0], panel, known="cutoff")
        late = _by_symbol("predictions", tables[1], panel, known="cutoff")
        found = first_difference(list(early), list(late), cut)
        if found is not None:
            return replace(found, what=f"{found.what} once bars are appended")
    return None


def order_of_symbols(subject: Subject, _: int) -> Finding | None:
    """The order in which symbols are named does not count."""
    other = Panel(subject.panel.members[::-1])
    if other.symbols != subject.panel.symbols:
        return Finding(f"{', '.join(other.symbols)} is the order in which they were given")
    return None


def run_laws(examples: int) -> list[Law]:
    """The tables that a run writes."""
    few = max(examples // 20, 2)
    same = "rows known by the cut are the same bytes under another future"
    tables = blind_to_the_future(of_cells, 22, cuts="fold")
    later = f"{APPENDED} more bars leave earlier rows as they are"
    return [
        Law("truth", "P12", "y is the return that came", 1, truth_by_hand),
        Law("predictions, scores", "P12", same, few, tables),
        Law("append", "P11", later, 1, appended_bars_change_nothing),
        Law("symbols", "P16", "their order does not count", 1, order_of_symbols),
    ]

"""What two runs beside each other look like in a terminal."""

from typing import Any

from rich.table import Table
from rich.text import Text

from forecaster.display import p_value, print_line, print_table
from forecaster.side_by_side import pair_name, shown

BASIS_POINTS = 1e4


def print_comparison(record: dict[str, Any]) -> None:
    """Where the two differ, then scores of common forecasts, B less A."""
    a, b = record["runs"]
    print_line(f"A: {a}")
    print_line(f"B: {b}")
    print_line("the same bars" if record["same_bars"] else "other bars: digests differ")
    odd = [*record["settings"], *record["environment"]]
    if not odd:
        print_line("the same settings, versions and machine")
    for each in [*odd, *record.get("results", [])]:
        print_line(f"{each['key']}: {shown(each['a']) or '-'} | {shown(each['b']) or '-'}")
    if record["kind"] == "backtest":
        _print_scores(record)


def _print_scores(record: dict[str, Any]) -> None:
    """A table a horizon of what differs; what does not, in a line."""
    same = [row for row in record["scores"] if row["log_score"][0] == row["log_score"][1]]
    odd = [row for row in record["scores"] if row not in same]
    for h in dict.fromkeys(row["h"] for row in odd):
        print_table(_table([row for row in odd if row["h"] == h], h))
    if same:
        names = dict.fromkeys(pair_name(row["models"]) for row in same)
        print_line(f"the same scores in both: {', '.join(names)}")
    for letter, names in zip("AB", record["alone"], strict=True):
        if names:
            print_line(f"only in {letter}: {', '.join(names)}")
    if record["outcomes_differ"]:
        print_line(f"{record['outcomes_differ']} common rows have other outcomes: the bars differ")


def _table(rows: list[dict[str, Any]], h: int) -> Table:
    dates = max(row["dates"] for row in rows)
    table = Table(title=f"h = {h}: forecasts that both made, {dates:,} dates", title_justify="left")
    table.caption, table.caption_justify = "B less A over dates; p two-sided, of this row", "left"
    table.add_column("model")
    for name in ("A\n[nats]", "B\n[nats]", "B less A", "p", "A\n[bp]", "B\n[bp]"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            Text(pair_name(row["models"])),
            *(f"{score:.4f}" for score in row["log_score"]),
            f"{row['gain']:+.4f}",
            p_value(row["p"]),
            *(f"{BASIS_POINTS * score:.2f}" for score in row["crps"]),
        )
    return table

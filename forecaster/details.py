"""What stands behind a backtest's verdicts, in a terminal: `forecaster runs show RUN --details`."""

from typing import Any

from rich.table import Table
from rich.text import Text

from forecaster.display import p_value, print_line, print_table

LOSSES = {"log_score": "log score", "crps": "CRPS"}


def print_details(summary: dict[str, Any]) -> None:
    """Comparisons, their groups, confidence sets, calibration and the other scores, on stdout."""
    for each in summary["comparisons"]:
        print_comparison(each)
    for each in summary["sets"]:
        for line in set_lines(each):
            print_line(line)
    for h in summary["horizons"]:
        print_table(calibration_table(summary, h))
        print_table(other_scores(summary, h))


def print_comparison(found: dict[str, Any]) -> None:
    """One learner against one rival: intervals, what could be seen, groups."""
    title = f"{found['model']} less {found['reference']}, h = {found['h']}"
    print_line(f"{title}: {_gain(found)}")
    if found["bootstrap"]:
        low, high = (f"{100 * x:+.2f}" for x in found["bootstrap"]["crps_skill"])
        less, more = (f"{x:+.4f}" for x in found["bootstrap"]["log_score_gain"])
        print_line(
            f"  stationary bootstrap (mean block {found['bootstrap']['block']} dates), 95 %:"
            f" skill [{low}, {high}] %, [{less}, {more}] nats"
        )
        print_line(
            f"  least effects seen in 80 % of cases: {100 * found['detectable_skill']:.2f} %,"
            f" {found['detectable_gain']:.4f} nats"
        )
    apart = found["without_overlap"]
    if apart:
        print_line(
            f"  every {found['h']}th date ({apart['dates']} of them): ahead in {apart['ahead']} of"
            f" {found['h']} subsamples, {apart['rejected']} at p < 5 %, median p"
            f" {apart['median_p']:.3f}"
        )
    print_table(parts_table(found))


def parts_table(found: dict[str, Any]) -> Table:
    """Differences by year, by volatility at the origin, by symbol."""
    table = Table()
    for name in ("by", "group", "dates", "log score\n[nats]", "p", "CRPS skill\n[%]"):
        table.add_column(name, justify="left" if name in {"by", "group"} else "right")
    for part in found["parts"]:
        table.add_row(
            part["by"],
            Text(part["group"]),
            str(part["dates"]),
            f"{part['log_score_gain']:+.4f}",
            p_value(part["log_score_p"]),
            f"{100 * part['crps_skill']:+.2f}",
        )
    return table


def set_lines(found: dict[str, Any]) -> list[str]:
    """Who may be the best at a horizon, and whether anything is better than a benchmark."""
    lines = []
    for name, label in LOSSES.items():
        kept = found[name]["confidence_set"]
        if kept:
            lines.append(
                f"h = {found['h']}, {label}: 90 % confidence set {', '.join(kept['kept'])}"
                f" (mean block {kept['block']} dates)"
            )
        for model, p in found[name]["spa"].items():
            lines.append(f"h = {found['h']}, {label}: nothing beats {model}: SPA p {p_value(p)}")
    return lines


def calibration_table(summary: dict[str, Any], h: int) -> Table:
    """Whether probabilities come true; stars where a HAC test rejects at 5 %."""
    table = Table(title=f"calibration, h = {h}", title_justify="left", caption_justify="left")
    table.caption = (
        "Shares over dates, * where HAC rejects at 5 %. PIT: bins of 10 outside a simultaneous 95 %"
        "\nband. Others: symbols of which a test on every h-th origin rejects at 5 %."
    )
    table.add_column("model")
    for name in ("cover 90", "cover 99", "below 1 %", "below 5 %", "PIT", "Berk.", "Kup.", "Chr."):
        table.add_column(name, justify="right")
    for row in (each for each in summary["calibration"] if each["h"] == h):
        names = ("coverage_90", "coverage_99", "below_0.01", "below_0.05")
        tests = row["rejected"]
        counts = [tests["berkowitz"], tests["kupiec_0.05"], tests["christoffersen_0.05"]]
        outside = "" if row["pit_outside"] is None else str(row["pit_outside"])
        table.add_row(
            Text(row["model"]),
            *(_share(row["shares"][name]) for name in names),
            outside,
            *(f"{n}/{tests['symbols']}" for n in counts),
        )
    return table


def other_scores(summary: dict[str, Any], h: int) -> Table:
    """Scores that no verdict rests on. Direction stands beside its base rate."""
    rows = [row for row in summary["rows"] if row["h"] == h]
    table = Table(title=f"other scores, h = {h}", title_justify="left", caption_justify="left")
    table.caption = f"Hit: rises called; the base rate of rises is {100 * rows[0]['up']:.2f} %."
    table.add_column("model")
    for name in (
        "FZ0\n1/5 %",
        "QLIKE",
        "pinball 1/5/95/99 %\n[bp]",
        "Brier",
        "hit\n[%]",
        "rank\nIC",
    ):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            Text(row["model"]),
            "/".join(f"{row[f'fz0_{a}']:.3f}" for a in (0.01, 0.05)),
            f"{row['qlike']:.3f}",
            "/".join(f"{1e4 * row[f'pinball_{a}']:.1f}" for a in (0.01, 0.05, 0.95, 0.99)),
            f"{row['brier']:.4f}",
            f"{100 * row['hit']:.1f}",
            f"{row['rank_ic']['mean']:+.3f}" if row["rank_ic"] else "",
        )
    return table


def _gain(found: dict[str, Any]) -> str:
    skill = 100 * (found["crps_skill"] or 0.0)
    score = f"{found['log_score_gain']:+.4f} nats, p {p_value(found['log_score_p'])}"
    return f"skill {skill:+.2f} %, p {p_value(found['p'])}; {score}"


def _share(found: dict[str, Any]) -> str:
    star = "*" if found["p"] is not None and found["p"] < 0.05 else " "
    return f"{100 * found['share']:.2f}{star}"

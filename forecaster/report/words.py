"""The verdict in words, and what this run cannot show."""

from typing import Any

from forecaster.display import listed
from forecaster.inference import SIZE
from forecaster.report.material import Material
from forecaster.tables import ledger_lines


def headlines(found: Material) -> list[str]:
    """One sentence a learner and horizon, from its printed verdicts, after Holm's correction."""
    said = []
    for h in found.horizons:
        pairs = [pair for pair in found.comparisons(h) if pair["printed"]]
        for model in dict.fromkeys(pair["model"] for pair in pairs):
            told = [finding(pair) for pair in pairs if pair["model"] == model]
            said.append(f"{ahead(h)}, {model} {joined(told)}.")
    return said or ["No learner ran: the table below compares baselines."]


def ahead(h: int) -> str:
    """A horizon in words."""
    return "One bar ahead" if h == 1 else f"{h} bars ahead"


def joined(told: list[str]) -> str:
    """`beats a and b and shows no edge over c`: rivals of one finding together."""
    groups: dict[str, list[str]] = {}
    for each in told:
        words, _, rival = each.rpartition(" ")
        groups.setdefault(words, []).append(rival)
    return " and ".join(f"{words} {' and '.join(rivals)}" for words, rivals in groups.items())


def finding(pair: dict[str, Any]) -> str:
    """What a comparison shows, with its rival as the last word.

    As `inference.verdict`, but that a win must outlive Holm's correction to be called one.
    """
    if pair["p"] is None:
        return f"has too few dates to be judged against {pair['reference']}"
    if pair["p"] >= SIZE:
        return f"shows no edge over {pair['reference']}"
    if (pair["crps_skill"] or 0) < 0:
        return f"is worse than {pair['reference']}"
    if pair["holm_p"] >= SIZE:
        return f"is ahead, though not after Holm's correction, of {pair['reference']}"
    alone = pair["log_score_p"] >= SIZE or pair["log_score_gain"] <= 0
    return f"beats{' (in CRPS alone)' if alone else ''} {pair['reference']}"


def limits(found: Material) -> list[str]:
    """What this run cannot show, with its numbers."""
    said = [_least_effects(found, h) for h in found.horizons]
    said += [_overlap(found, h) for h in found.horizons if h > 1]
    said += [
        f"Nothing but {listed(found.summary['symbols'])} at interval {found.summary['interval']}"
        f" from {found.summary['test_from']} to {found.summary['test_until']} was looked at; other"
        " markets and other years may differ.",
        "The rival of a verdict is the best of its group on these very rows. That favours the rival"
        " and never the learner.",
        "Scores are of densities of returns. Costs, positions and profit were not looked at, and"
        " nothing here is investment advice.",
    ]
    return [text for text in said if text] + tried(found)


def tried(found: Material) -> list[str]:
    """How often these bars were looked at."""
    return [f"{line[0].upper()}{line[1:]}." for line in ledger_lines(found.summary)]


def _least_effects(found: Material, h: int) -> str:
    """The smallest effects that the tests of a horizon would find."""
    seen = [
        f"{100 * pair['detectable_skill']:.2f} % and {pair['detectable_gain']:.4f} nats"
        f" ({pair['model']} against {pair['reference']})"
        for pair in found.comparisons(h)
        if pair["printed"] and pair["detectable_skill"] is not None
    ]
    if not seen:
        return ""
    return f"{ahead(h)}, the test can see effects above {'; '.join(seen)}, in four cases of five."


def _overlap(found: Material, h: int) -> str:
    dates = found.rows(h)[0]["dates"]
    return (
        f"{ahead(h)}, {dates:,} dates overlap: they are worth about {dates // h:,} independent"
        " ones."
    )


def about(found: Material) -> list[tuple[str, str]]:
    """What was run, as pairs of a word and its value."""
    summary, h = found.summary, found.horizons[0]
    rows = found.rows(h)
    return [
        ("symbols", listed(summary["symbols"])),
        ("interval", summary["interval"]),
        ("test", f"{summary['test_from']} to {summary['test_until']}"),
        ("folds", str(summary["folds"])),
        ("models", str(len(rows))),
        ("forecasts", f"{rows[0]['n']:,} on {rows[0]['dates']:,} dates at h = {h}"),
        ("vault", summary["vault"]),
    ]

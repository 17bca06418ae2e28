"""What a study looks like in a terminal, a hundred columns wide: scores, then fit and cost."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from .notes import how_made, losses_differ
from .study import Study
from .summary import ArmSummary

WIDTH = 100  # columns where stdout is no terminal
STYLES = {"better": "green", "worse": "red"}


def score_table(study: Study, arms: Sequence[ArmSummary]) -> Table:
    """Who is better: counts, rates, final scores, differences, verdicts."""
    title = f"{study.corpus}, recipe {study.recipe}: {len(arms)} arms x {arms[0].nats.n} seeds"
    table = new_table(title)
    for name in ("parameters", "gap\n[%]", "rate", "score\n[nats]", "difference\n[nats]"):
        table.add_column(Text(name), justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for arm in arms:
        table.add_row(
            Text(arm.name),
            f"{arm.parameters:,}",
            f"{100 * arm.parameter_gap:+.2f}",
            f"{arm.factor:g}{'*' if arm.at_edge else ''}",
            str(arm.nats),
            "" if arm.difference is None else signed(arm),
            Text(arm.verdict, style=STYLES.get(arm.verdict, "")),
        )
    return table


def cost_table(study: Study, arms: Sequence[ArmSummary]) -> Table:
    """How scores came about and what they cost; the caption is that of both tables."""
    table = new_table("fit and cost")
    names = ["trained-on\n[nats]", "over-fit\n[nats]", "best on the way\n[nats] (step)"]
    names += ["softmax\n[nats]"] if losses_differ(arms) else []
    for name in (*names, "run\n[s]", "step\n[ms]", "time\nratio"):
        table.add_column(Text(name), justify="right", no_wrap=True)
    for arm in arms:
        cells = [f"{arm.training_nats:.4f}", f"{arm.overfit:+.4f}", best_shown(arm)]
        if losses_differ(arms):
            cells.append("" if arm.softmax_nats is None else f"{arm.softmax_nats:.4f}")
        cells += [f"{arm.seconds:.1f}", f"{arm.ms_per_step:.1f}", f"{arm.time_ratio:.2f}"]
        table.add_row(Text(arm.name), *cells)
    table.caption = Text("\n".join(how_made(study, arms)))
    return table


def new_table(title: str) -> Table:
    """A table of arms."""
    table = Table(title=Text(title), box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.title_justify = table.caption_justify = "left"
    table.add_column("arm", overflow="fold")
    return table


def signed(arm: ArmSummary) -> str:
    """The difference to the reference, with its sign."""
    shown = str(arm.difference)
    return shown if shown.startswith("-") else f"+{shown}"


def best_shown(arm: ArmSummary) -> str:
    """The lowest score on the way, and the steps where seeds had theirs."""
    first, last = min(arm.best_steps), max(arm.best_steps)
    return f"{arm.best_nats:.4f} ({first if first == last else f'{first}-{last}'})"

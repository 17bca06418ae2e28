"""What the parts of a learner are worth: bars over its prior, the learner without any network."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd
from scipy import stats

from forecaster import inference
from forecaster.config import RunConfig
from forecaster.display import p_value
from forecaster.protocol import PRIOR, TOGETHER
from forecaster.report.drawing import Chart, Table, axis, colour, rounded
from forecaster.report.facts import command_again
from forecaster.report.material import Material
from forecaster.report.networks import Kept, kept_of, upright_level

CONTROLS = ("mlp", "llama-shuffled")  # no attention; the order of the past hidden
SYMBOLS_TOGETHER = "diff_v1"  # the controls cannot read several symbols at a time


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One bar."""

    name: str
    gain: float  # nats a forecast over the prior alone
    half: float | None  # half of a 95 % interval; None for too few dates
    p: float | None
    dates: int


def ablation_chart(found: Material, h: int) -> Chart | None:
    """Every learner whole and in parts, at one horizon; None where no parts were kept."""
    kept = [each for each in (kept_of(found, m, h) for m in found.learners) if each is not None]
    bars = [variant for each in kept for variant in variants(each)]
    if not bars:
        return None
    names = [escape(each.name) for each in bars][::-1]
    drawn = {"type": "bar", "orientation": "h", "x": _column(bars, "gain"), "y": names} | {
        "marker": {"color": colour(0)},
        "error_x": {"type": "data", "array": _column(bars, "half"), "thickness": 1.5, "width": 5}
        | {"color": "#888888"},
        "hovertemplate": "%{x:.4f}<extra></extra>",
    }
    told = (
        f"h = {h}: gain over no network, a mean over dates of means over symbols; whiskers: 95 %"
        f" intervals (HAC, as in the verdicts); {bars[0].dates:,} dates."
    )
    if any(each.pooled for each in kept):
        told += " As scored it is pooled with classical densities: what they add has no bar."
    return Chart(
        name=f"ablation-{h}",
        title="Gain over no network",
        note=told,
        alt=f"Bars of {len(bars)} variants. {told}",
        traces=[drawn],
        x=axis("nats a forecast over no network"),
        y=axis("", type="category", categoryorder="array", categoryarray=names),
        marks=[upright_level()],
        height=110 + 34 * len(bars),
        numbers=Table(
            caption=f"Gain over no network, h = {h} [nats]",
            columns=("variant", "gain", "95 % interval", "p"),
            rows=(
                ("no network", "0", "", ""),
                *(
                    (each.name, f"{each.gain:+.4f}", interval(each), p_value(each.p))
                    for each in bars
                ),
            ),
        ),
    )


def variants(kept: Kept) -> list[Variant]:
    """One network, and all of them. What a pool adds beyond is no network's: it is not here."""
    count, scores = len(kept.networks), kept.scores
    all_of_them = f"all {count} networks" if count > 1 else "its one network"
    told = {f"{kept.model}, {all_of_them}": scores[TOGETHER]}
    if count > 1:
        one = scores[kept.networks].mean(axis=1)
        told = {f"{kept.model}, one network of {count}": one} | told
    return [variant(name, own, scores[PRIOR], kept.h) for name, own in told.items()]


def variant(name: str, own: pd.Series, prior: pd.Series, h: int) -> Variant:
    """A mean over dates with the interval and p of the test that verdicts rest on."""
    a, b, half, p = own.to_numpy(), prior.to_numpy(), None, None
    if len(a) >= inference.fewest(h):
        wide = float(stats.t.ppf(1 - inference.SIZE / 2, len(a) - 1))
        half = wide * float(inference.standard_errors((a - b)[:, None], h)[0])
        p = inference.diebold_mariano(-a, -b, h)[2]
    return Variant(name=name, gain=float((a - b).mean()), half=half, p=p, dates=len(a))


def _column(bars: Sequence[Variant], name: str) -> list[float]:
    """From below, as plotly draws them."""
    return rounded(np.array([getattr(each, name) or 0.0 for each in bars[::-1]]))


def interval(each: Variant) -> str:
    """In a table."""
    if each.half is None:
        return "too few dates"
    return f"{each.gain - each.half:+.4f} to {each.gain + each.half:+.4f}"


def command_for_more(config: RunConfig) -> str:
    """The same run beside controls that it lacks, "" where it has all: each costs its fits."""
    more = CONTROLS if config.learner.panel is None else (SYMBOLS_TOGETHER,)
    presets = tuple(dict.fromkeys((*config.presets, *more)))
    if presets == config.presets:
        return ""
    return command_again(config.model_copy(update={"presets": presets}))

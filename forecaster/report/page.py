"""The page: every section of a run in one file that needs nothing besides itself."""

import gzip
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from forecaster.report.ablation import ablation_chart, command_for_more
from forecaster.report.calibrated import coverage_table, pit_charts, reliability_chart
from forecaster.report.drawing import Chart, Table
from forecaster.report.facts import (
    bar_table,
    command_again,
    command_typed,
    environment_table,
    fold_table,
    seconds_table,
)
from forecaster.report.fans import fan_charts
from forecaster.report.groups import group_tables
from forecaster.report.material import Material
from forecaster.report.networks import spread_charts
from forecaster.report.origins import RULE
from forecaster.report.over_time import charts_over_time
from forecaster.report.risk import exceedance_charts, risk_table, variance_table
from forecaster.report.scored import score_table
from forecaster.report.sketched import RULE as PATH_RULE
from forecaster.report.sketched import path_charts, without_paths
from forecaster.report.training import training_charts
from forecaster.report.words import about, headlines, limits

TEMPLATE = "page.html.j2"
PACKED_BYTES = 1 << 20  # of a summary: one of hundreds of symbols is in the page gzipped


@dataclass(frozen=True, kw_only=True, slots=True)
class Horizon:
    """What the page shows of one horizon, by section."""

    h: int
    over_time: Sequence[Chart]
    groups: Sequence[Table]
    pit: Sequence[Chart]
    reliability: Chart
    coverage: Table
    exceedances: Sequence[Chart]
    risk: Table
    variance: Table
    spread: Sequence[Chart]
    ablation: Chart | None

    @property
    def charts(self) -> list[Chart]:
        """All of them."""
        found = [*self.over_time, *self.pit, self.reliability, *self.exceedances, *self.spread]
        return found if self.ablation is None else [*found, self.ablation]


def page_of(found: Material) -> str:
    """The page. Names of symbols and models are escaped wherever they stand."""
    horizons, drawn = [_horizon(found, h) for h in found.horizons], fan_charts(found)
    training = training_charts(found)
    paths = path_charts(found)
    charts = [*drawn, *paths, *(chart for each in training for chart in each)]
    charts += [chart for each in horizons for chart in each.charts]
    return (
        _environment()
        .get_template(TEMPLATE)
        .render(
            found=found,
            headlines=headlines(found),
            about=about(found),
            limits=limits(found),
            scores=[score_table(found, h) for h in found.horizons],
            horizons=horizons,
            fans=drawn,
            fan_rule=RULE,
            training=training,
            paths=paths,
            path_rule=PATH_RULE,
            without_paths=without_paths(found),
            more=command_for_more(found.config),
            bars=bar_table(found),
            folds=fold_table(found),
            seconds=seconds_table(found),
            environment=environment_table(found),
            again=command_again(found.config),
            typed=command_typed(found),
            data={chart.name: _drawn(chart) for chart in charts},
            plotly=packed_plotly(),
            packed=packed_summary(found.summary),
        )
    )


def _horizon(found: Material, h: int) -> Horizon:
    return Horizon(
        h=h,
        over_time=charts_over_time(found, h),
        groups=group_tables(found, h),
        pit=pit_charts(found, h),
        reliability=reliability_chart(found, h),
        coverage=coverage_table(found, h),
        exceedances=exceedance_charts(found, h),
        risk=risk_table(found, h),
        variance=variance_table(found, h),
        spread=spread_charts(found, h),
        ablation=ablation_chart(found, h),
    )


def _drawn(chart: Chart) -> dict[str, Any]:
    """What the page's script needs of a chart; its words and numbers are in the page."""
    wanted = ("traces", "x", "y", "height", "marks", "legend")
    return {name: value for name, value in asdict(chart).items() if name in wanted}


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("forecaster.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment


@cache
def packed_plotly() -> str:
    """plotly.js, gzipped, in base64: 2 MB of 4.8, which the browser unpacks.

    The whole of it: the package ships no smaller bundle.
    """
    from plotly.offline import get_plotlyjs  # half a second, and only for a page

    return packed(get_plotlyjs())


def packed_summary(summary: Mapping[str, Any]) -> str:
    """A large one, as plotly.js is; empty for one that the page holds as it is."""
    text = json.dumps(summary, allow_nan=False, separators=(",", ":"))
    return packed(text) if len(text) > PACKED_BYTES else ""


def packed(text: str) -> str:
    """Gzipped, in base64."""
    return b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()

"""The page: every section of a run in one file that needs nothing besides itself."""

import gzip
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from forecaster.report import calibrated, facts, fans, groups, over_time, risk, scored, words
from forecaster.report.drawing import Chart, Table
from forecaster.report.material import Material

TEMPLATE = "page.html.j2"


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

    @property
    def charts(self) -> list[Chart]:
        """All of them."""
        return [*self.over_time, *self.pit, self.reliability, *self.exceedances]


def page_of(found: Material) -> str:
    """The page. Names of symbols and models are escaped wherever they stand."""
    horizons, drawn = [_horizon(found, h) for h in found.horizons], fans.fan_charts(found)
    charts = [*drawn, *(chart for each in horizons for chart in each.charts)]
    return (
        _environment()
        .get_template(TEMPLATE)
        .render(
            found=found,
            headlines=words.headlines(found),
            about=words.about(found),
            limits=words.limits(found),
            scores=[scored.score_table(found, h) for h in found.horizons],
            horizons=horizons,
            fans=drawn,
            fan_rule=(fans.__doc__ or "").split("The rule: ")[1],
            bars=facts.bar_table(found),
            folds=facts.fold_table(found),
            seconds=facts.seconds_table(found),
            environment=facts.environment_table(found),
            again=facts.command_again(found.config),
            typed=facts.command_typed(found),
            data={chart.name: _drawn(chart) for chart in charts},
            plotly=packed_plotly(),
        )
    )


def _horizon(found: Material, h: int) -> Horizon:
    return Horizon(
        h=h,
        over_time=over_time.charts_over_time(found, h),
        groups=groups.group_tables(found, h),
        pit=calibrated.pit_charts(found, h),
        reliability=calibrated.reliability_chart(found, h),
        coverage=calibrated.coverage_table(found, h),
        exceedances=risk.exceedance_charts(found, h),
        risk=risk.risk_table(found, h),
        variance=risk.variance_table(found, h),
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
    return b64encode(gzip.compress(get_plotlyjs().encode(), 6, mtime=0)).decode()

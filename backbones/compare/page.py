"""A study as one HTML page that needs nothing besides itself: no network, no other file."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from ..storage import replace_file
from .charts import COLOURS, charts_of, colour
from .notes import how_made, losses_differ, not_shown
from .running import Results
from .summary import ArmSummary, by_arm, summarise
from .table import best_shown, signed

TEMPLATE = "page.html.j2"


def write_page(results: Results, folder: Path) -> Path:
    """compare.html in `folder`, whole or not at all; StorageError where the disk refuses."""
    place = folder / "compare.html"
    replace_file(place, page_of(results).encode())
    return place


def page_of(results: Results) -> str:
    """The page. Names of arms and corpora are escaped wherever they stand."""
    study, found = results.study, summarise(results)
    charts = charts_of(results, by_arm(results), found)
    environment = Environment(
        loader=PackageLoader("backbones.compare", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(
        study=study,
        arms=found,
        cells=[cells_of(arm) for arm in found],
        softmax=losses_differ(found),
        colours=[colour(i) for i in range(len(found))],
        dashed=[i >= len(COLOURS) for i in range(len(found))],
        said=sentences(found),
        how_made=how_made(study, found),
        not_shown=not_shown(study, found),
        charts=charts,
        data=in_script([asdict(chart) for chart in charts]),
        plotly=Markup(get_plotlyjs()),
    )


def cells_of(arm: ArmSummary) -> dict[str, str]:
    """The cells of an arm's row as they are shown."""
    return {
        "difference": "" if arm.difference is None else signed(arm),
        "best": best_shown(arm),
        "softmax": "" if arm.softmax_nats is None else f"{arm.softmax_nats:.4f}",
    }


def sentences(found: Sequence[ArmSummary]) -> list[str]:
    """The verdicts in words."""
    said = []
    for verdict in ("better", "worse", "not decided"):
        names = [arm.name for arm in found if arm.verdict == verdict]
        if names:
            said.append(f"{verdict}: {', '.join(names)}")
    return said


def in_script(value: Any) -> Markup:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))

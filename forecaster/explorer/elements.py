"""Tables and charts of the report as Dash's elements. Text is text: React escapes it."""

from typing import Any

from dash import dcc, html

from forecaster.report.drawing import Chart, Table

PLAIN: Any = {"displayModeBar": False, "responsive": True}


def figure(chart: Chart) -> dict[str, Any]:
    """What plotly takes; colours of text and lines are the page's, by its style sheet."""
    ground, clear = {"automargin": True, "zeroline": False}, "rgba(0,0,0,0)"
    return {
        "data": chart.traces,
        "layout": {
            "height": chart.height,
            "margin": {"l": 50, "r": 8, "t": 8, "b": 32},
            "hovermode": "closest",
            "dragmode": False,
            "paper_bgcolor": clear,
            "plot_bgcolor": clear,
            "showlegend": chart.legend,
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
            "shapes": chart.marks,
            "xaxis": ground | chart.x,
            "yaxis": ground | chart.y,
        },
    }


def frame(name: str, height: int, *, numbers: bool = False) -> html.Figure:
    """A place for a chart of a height [pixels], which `parts` fill."""
    more = html.Details([html.Summary("Numbers"), html.Div(id=f"{name}-numbers")])
    return html.Figure(
        [
            html.B(id=f"{name}-title", className="title"),
            html.P(id=f"{name}-alt", className="hidden-text"),
            dcc.Graph(id=name, className="chart", config=PLAIN, style={"height": height}),
            html.Figcaption(id=f"{name}-note"),
            *((more,) if numbers else ()),
        ]
    )


def parts_of(name: str) -> list[tuple[str, str]]:
    """(element, property) of a frame, in the order of `parts`."""
    texts = [(f"{name}-{part}", "children") for part in ("title", "alt", "note")]
    return [(name, "figure"), *texts]


def parts(chart: Chart) -> tuple[dict[str, Any], str, str, str]:
    """Figure, title, alternative text and note of a frame."""
    return figure(chart), chart.title, chart.alt, chart.note


def table(it: Table) -> html.Div:
    """As the report's, for cells of text."""
    sides = ["left" if column in it.wide else "" for column in it.columns]
    head = [html.Th(c, scope="col", className=s) for c, s in zip(it.columns, sides, strict=True)]
    body = [
        html.Tr(
            [
                html.Th(str(row[0]), scope="row"),
                *(html.Td(str(c), className=s) for c, s in zip(row[1:], sides[1:], strict=True)),
            ]
        )
        for row in it.rows
    ]
    whole = html.Table(
        [html.Caption(html.Span(it.caption)), html.Thead(html.Tr(head)), html.Tbody(body)]
    )
    about: Any = {"className": "wide", "role": "region", "tabIndex": "0"}
    region = html.Div(whole, **about | {"aria-label": it.caption})
    return html.Div([region, html.P(it.note, className="quiet")])


def named(words: str, element: Any, *, whole: bool = False) -> html.Div:
    """A control under its words."""
    about: Any = {"role": "group", "aria-label": words}
    label = html.Span(words, className="name")
    return html.Div([label, element], className="whole" if whole else "", **about)


def button(name: str, words: str) -> html.Button:
    """A button."""
    return html.Button(words, id=name, className="plain", type="button")

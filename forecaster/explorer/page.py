"""The explorer's page: its controls and the places of its charts."""

from typing import Any

from dash import dcc, html

from forecaster.explorer import controls
from forecaster.explorer.charts import FAN_HEIGHT, HEIGHT
from forecaster.explorer.controls import Place
from forecaster.explorer.elements import button, frame, named
from forecaster.explorer.subject import Subject
from forecaster.report.words import ahead, headlines

NO_NETWORK = (
    "A backtest keeps no networks, and so no attention maps: train a learner with"
    " `forecaster train` and name its run with --learner."
)


def layout(subject: Subject, attention: list[Any] | None) -> html.Div:
    """The page as it opens; `attention` stands below its heading, a line where it is None."""
    attention = attention or [html.P(NO_NETWORK, className="quiet")]
    place = controls.begin(subject)
    versus = [html.H2("Two runs"), html.Div(id="versus")] if subject.comparison else []
    return html.Div(
        [
            dcc.Store(id="place", data={"symbol": place.symbol, "position": place.position}),
            html.H1([html.Span(line) for line in headlines(subject.first)]),
            _controls(subject, place),
            html.Main(
                [
                    frame("fan", FAN_HEIGHT, numbers=True),
                    html.Div(
                        [frame("density", HEIGHT), frame("scores", HEIGHT, numbers=True)],
                        className="grid",
                    ),
                    html.H2("The bar as the learner reads it"),
                    html.Div(id="tokens"),
                    html.H2("Attention"),
                    *attention,
                    *versus,
                ]
            ),
            html.P("Nothing here is investment advice.", className="quiet"),
        ]
    )


def _controls(subject: Subject, place: Place) -> html.Div:
    last = len(subject.cutoffs(place.symbol)) - 1
    horizons = [{"value": h, "label": ahead(h)} for h in subject.horizons]
    picks = [
        {"value": i, "label": f"{pick.why}: {pick.symbol}, {subject.day(pick.cutoff)}"}
        for i, pick in enumerate(subject.picks)
    ]
    models = dcc.Dropdown(
        id="models",
        options=list(subject.models),
        value=list(subject.chosen_at_first),
        multi=True,
    )
    slider = dcc.Slider(
        id="position",
        min=0,
        max=last,
        step=1,
        value=place.position,
        marks=controls.marks(subject, place.symbol),
        allow_direct_input=False,
        updatemode="mouseup",
    )
    symbol = dcc.Dropdown(
        id="symbol", options=list(subject.symbols), value=place.symbol, clearable=False
    )
    return html.Div(
        [
            named("Symbol", symbol),
            named(
                "Horizon",
                dcc.RadioItems(id="horizon", options=horizons, value=horizons[0]["value"]),
            ),
            named("Chosen by the report's rule", dcc.Dropdown(id="pick", options=picks)),
            named("Origin", _steps(subject.day(subject.cutoffs(place.symbol)[place.position]))),
            named("Models, the first one filled", models, whole=True),
            html.Div(slider, className="whole slid"),
        ],
        className="controls",
    )


def _steps(day: str) -> html.Div:
    """One origin on or back, a day by name, and what came."""
    return html.Div(
        [
            button("earlier", "earlier"),
            dcc.Input(id="day", value=day, debounce=True, type="text"),
            button("later", "later"),
            button("reveal", "show what came"),
        ],
        className="line",
    )

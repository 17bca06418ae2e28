"""The page's part on attention: which map of a trained learner is drawn, or why there is none."""

from typing import Any

from dash import Dash, Input, Output, dcc, html

from forecaster.explorer import controls
from forecaster.explorer.elements import frame, named, parts, parts_of, table
from forecaster.explorer.heads import (
    HEIGHT,
    ROW_HEIGHT,
    WORDS,
    Head,
    Network,
    attention_chart,
    row_chart,
)
from forecaster.explorer.subject import Subject

CONTROLS = ("network", "layer", "head", "map")


def section(network: Network) -> list[Any]:
    """Controls and places of the charts."""
    layers = network.sample
    maps = layers[0].maps
    counts = (len(network.fitted.networks), len(layers), len(maps["first"]))
    numbered = [
        named(name, dcc.Dropdown(id=name, options=_numbers(count), value=0, clearable=False))
        for name, count in zip(CONTROLS, counts, strict=False)
    ]
    words = [{"value": name, "label": WORDS[name]} for name in maps]
    which = dcc.Dropdown(id="map", options=words, value=layers[0].read, clearable=False)
    return [
        html.Div([*numbered, named("map", which)], className="controls"),
        html.Div(
            [frame("attention", HEIGHT, numbers=True), frame("attended", ROW_HEIGHT)],
            className="grid",
        ),
    ]


def _numbers(count: int) -> list[Any]:
    return [{"value": i, "label": f"{i + 1} of {count}"} for i in range(count)]


def head_of(network: Network, given: tuple[Any, ...]) -> Head:
    """The chosen map; the first of what is not there."""
    layers = network.sample
    counts = (len(network.fitted.networks), len(layers), len(layers[0].maps["first"]))
    numbers = [
        int(value) if isinstance(value, int) and 0 <= value < count else 0
        for value, count in zip(given[:3], counts, strict=True)
    ]
    name = given[3] if given[3] in layers[0].maps else layers[0].read
    return Head(network=numbers[0], layer=numbers[1], head=numbers[2], name=name)


def attended(
    subject: Subject, network: Network, kept: dict[str, Any], given: tuple[Any, ...]
) -> tuple[Any, ...]:
    """Parts of the map and of its last row, then the map's numbers."""
    place = controls.place_of(subject, kept)
    choice = controls.choice_of(subject, place, None, (), revealed=False)
    head = head_of(network, given)
    chart = attention_chart(network, choice, head)
    numbers = table(chart.numbers) if chart.numbers else None
    return *parts(chart), *parts(row_chart(network, choice, head)), numbers


def connect(app: Dash, subject: Subject, network: Network) -> None:
    """Let the part's controls call `attended`."""

    @app.callback(
        [
            *(Output(*part) for name in ("attention", "attended") for part in parts_of(name)),
            Output("attention-numbers", "children"),
        ],
        [Input("place", "data"), *(Input(name, "value") for name in CONTROLS)],
    )
    def attend(kept: dict[str, Any], *given: Any) -> tuple[Any, ...]:
        return attended(subject, network, kept, given)

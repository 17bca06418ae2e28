"""Which control asks for what: plain functions of a subject, then what Dash calls."""

from collections.abc import Sequence
from typing import Any

from dash import Dash, Input, Output, State, ctx

from forecaster.explorer import controls
from forecaster.explorer.bar_words import Reader, token_table
from forecaster.explorer.charts import density_chart, fan_chart, scores_chart
from forecaster.explorer.controls import Place
from forecaster.explorer.elements import parts, parts_of, table
from forecaster.explorer.subject import Subject
from forecaster.explorer.versus import comparison_tables

MOVERS = {
    "symbol": controls.to_symbol,
    "position": controls.to_position,
    "pick": controls.to_pick,
    "day": controls.to_day,
}
STEPS = {"earlier": -1, "later": 1}


def moved(subject: Subject, kept: dict[str, Any], trigger: str, value: Any) -> tuple[Any, ...]:
    """After a control was used: the place, then what the others that show it say."""
    place = controls.place_of(subject, kept)
    if trigger in STEPS:
        place = controls.by(subject, place, STEPS[trigger])
    elif trigger in MOVERS:
        place = MOVERS[trigger](subject, place, value)
    cutoffs = subject.cutoffs(place.symbol)
    return (
        {"symbol": place.symbol, "position": place.position},
        place.symbol,
        place.position,
        len(cutoffs) - 1,
        controls.marks(subject, place.symbol),
        subject.day(cutoffs[place.position]),
    )


def fan_shown(
    reader: Reader, place: Place, models: Sequence[Any] | None, *, revealed: bool
) -> tuple[Any, ...]:
    """What no horizon changes: parts of the fan, its numbers, the tokens, the button's words."""
    choice = controls.choice_of(reader.subject, place, None, models, revealed)
    fan = fan_chart(reader.subject, choice)
    return (
        *parts(fan),
        table(fan.numbers) if fan.numbers else None,
        table(token_table(reader, choice)),
        "hide what came" if revealed else "show what came",
    )


def horizon_shown(
    subject: Subject, place: Place, h: Any, models: Sequence[Any] | None, *, revealed: bool
) -> tuple[Any, ...]:
    """Parts of the density and of the scores, then the numbers of these."""
    choice = controls.choice_of(subject, place, h, models, revealed)
    scores = scores_chart(subject, choice)
    return (
        *parts(density_chart(subject, choice)),
        *parts(scores),
        table(scores.numbers) if scores.numbers else "Hidden with what came.",
    )


def odd(clicks: int | None) -> bool:
    """Whether a button that shows and hides has been pressed to show."""
    return bool((clicks or 0) % 2)


def connect(app: Dash, subject: Subject) -> None:
    """Let the page's controls call the functions above."""
    _connect_movers(app, subject)
    _connect_charts(app, Reader(subject))
    if subject.comparison:

        @app.callback(Output("versus", "children"), Input("horizon", "value"))
        def beside(h: int) -> list[Any]:
            return [table(each) for each in comparison_tables(subject.comparison, h)]


def _connect_movers(app: Dash, subject: Subject) -> None:
    moving = ("symbol", "position", "pick", "day")

    @app.callback(
        [
            Output("place", "data"),
            *(Output("symbol", "value"), Output("position", "value")),
            *(Output("position", "max"), Output("position", "marks"), Output("day", "value")),
        ],
        [
            *(Input(name, "value") for name in moving),
            *(Input(name, "n_clicks") for name in STEPS),
        ],
        State("place", "data"),
        prevent_initial_call=True,
    )
    def move(*given: Any) -> tuple[Any, ...]:
        trigger = str(ctx.triggered_id)
        value = given[moving.index(trigger)] if trigger in moving else None
        return moved(subject, given[-1], trigger, value)


def _connect_charts(app: Dash, reader: Reader) -> None:
    subject = reader.subject
    chosen = (Input("place", "data"), Input("models", "value"), Input("reveal", "n_clicks"))

    @app.callback(
        [
            *(Output(*part) for part in parts_of("fan")),
            *(Output("fan-numbers", "children"), Output("tokens", "children")),
            Output("reveal", "children"),
        ],
        [*chosen],
    )
    def show_fan(kept: dict[str, Any], models: Any, clicks: int | None) -> tuple[Any, ...]:
        place = controls.place_of(subject, kept)
        return fan_shown(reader, place, models, revealed=odd(clicks))

    @app.callback(
        [
            *(Output(*part) for name in ("density", "scores") for part in parts_of(name)),
            Output("scores-numbers", "children"),
        ],
        [*chosen, Input("horizon", "value")],
    )
    def show_horizon(kept: dict[str, Any], models: Any, clicks: int | None, h: Any) -> Any:
        place = controls.place_of(subject, kept)
        return horizon_shown(subject, place, h, models, revealed=odd(clicks))

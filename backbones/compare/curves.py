"""What a run was like on its way: the loss of every step, and its scores at some."""

from dataclasses import dataclass
from pathlib import Path

from .tasks import Done, events


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """One run; steps count those done."""

    steps: tuple[int, ...]
    losses: tuple[float, ...]  # of that step's batch, nats a token
    seconds: tuple[float, ...]  # in steps, up to and with that one
    scored: tuple[int, ...]  # after which steps
    scores: tuple[float, ...]  # nats a character, on the text that the run is scored on

    @property
    def best(self) -> tuple[float, int]:
        """The lowest score and its step, the first of equals.

        Optimistic as a result: the text that is scored chose it.
        """
        return min(zip(self.scores, self.scored, strict=True))


def curve_of(done: Done) -> Curve:
    """The curve of a run, from its folder; CheckpointError where it is missing."""
    return read_curve(done.task.folder, f"{done.task.plan.split}_nats")


def read_curve(folder: Path, score: str) -> Curve:
    """The curve that a folder's metrics tell, scores by their name there."""
    logged = events(folder)
    steps = [event for event in logged if event["event"] == "step"]
    scores = [event for event in logged if event["event"] == "evaluation"]
    total, seconds = 0.0, []
    for event in steps:
        total += event["seconds"]
        seconds.append(total)
    return Curve(
        steps=tuple(event["step"] for event in steps),
        losses=tuple(event["loss"] for event in steps),
        seconds=tuple(seconds),
        scored=tuple(event["step"] for event in scores),
        scores=tuple(event[score] for event in scores),
    )

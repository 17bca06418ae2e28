"""A learner against a rival, whole: tests, what could be seen, and where it comes from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd

from forecaster import inference
from forecaster.inference import ConfidenceSet, Intervals, Losses, Part, Skill, Subsamples

BY = ("year", "volatility", "unique_id")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Everything that is known of one difference."""

    skill: Skill
    printed: bool  # as a verdict; the others stand in summary.json alone
    bootstrap: Intervals | None
    without_overlap: Subsamples | None
    parts: tuple[Part, ...]
    # Holm's correction over all printed verdicts; NaN for the others.
    holm_p: float = math.nan
    holm_log_score_p: float = math.nan

    @property
    def wins(self) -> bool:
        """Whether the model is shown to be better, before any correction."""
        return self.skill.p < inference.SIZE and self.skill.crps_skill > 0

    def ahead(self, by: str) -> tuple[int, int]:
        """In how many groups of how many the mean log score is higher."""
        gains = [part.log_score_gain for part in self.parts if part.by == by]
        return sum(gain > 0 for gain in gains), len(gains)

    def record(self) -> dict[str, Any]:
        """As JSON can hold it: what was not tested is null."""
        found = asdict(self.skill) | {
            "holm_p": self.holm_p,
            "holm_log_score_p": self.holm_log_score_p,
        }
        found = {
            k: v if not isinstance(v, float) or math.isfinite(v) else None for k, v in found.items()
        }
        return found | {
            "printed": self.printed,
            "bootstrap": self.bootstrap and plain(self.bootstrap),
            "without_overlap": self.without_overlap and asdict(self.without_overlap),
            "ahead": {by: list(self.ahead(by)) for by in BY},
            "parts": [asdict(part) for part in self.parts],
        }

    def sentence(self) -> str:
        """The verdict, the years that agree with it, and what Holm leaves of its p."""
        ahead, years = self.ahead("year")
        text = f"{inference.verdict(self.skill)}; ahead by log score in {ahead} of {years} years"
        return text if math.isnan(self.holm_p) else f"{text}; Holm {inference.p_text(self.holm_p)}"


def plain(found: Intervals | ConfidenceSet) -> dict[str, Any]:
    """As JSON gives it back: lists for tuples."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(found).items()}


def comparisons(
    losses: Losses, frame: pd.DataFrame, asked: Mapping[tuple[str, str], bool]
) -> list[Comparison]:
    """Of the pairs (model, rival) that are asked for, at the horizon of the losses."""
    parts = [part for by in BY for part in inference.parts(frame, losses.h, by, list(asked))]
    return [
        Comparison(
            skill=inference.compare(losses, model, rival),
            printed=printed,
            bootstrap=inference.intervals(losses, model, rival),
            without_overlap=inference.subsamples(losses, model, rival),
            parts=tuple(p for p in parts if (p.model, p.rival) == (model, rival)),
        )
        for (model, rival), printed in asked.items()
    ]


def corrected(found: Sequence[Comparison]) -> list[Comparison]:
    """The same, the printed ones with Holm's p over all of them, CRPS and log score apart."""
    printed = [each for each in found if each.printed]
    crps = iter(inference.holm([each.skill.p for each in printed]))
    log_score = iter(inference.holm([each.skill.log_score_p for each in printed]))
    return [
        replace(each, holm_p=next(crps), holm_log_score_p=next(log_score)) if each.printed else each
        for each in found
    ]

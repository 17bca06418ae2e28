"""Variants side by side: equal parameters, equal tokens, tuned rates, several seeds."""

from .arms import Arm, arms_of
from .request import ReadyStudy, StudyRequest, prepare_study
from .running import Results, run_study
from .study import Study, Variation
from .summary import ArmSummary, summarise

__all__ = [
    "Arm",
    "ArmSummary",
    "ReadyStudy",
    "Results",
    "Study",
    "StudyRequest",
    "Variation",
    "arms_of",
    "prepare_study",
    "run_study",
    "summarise",
]

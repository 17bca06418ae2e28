"""Variants side by side: equal parameters, equal tokens, tuned rates, several seeds."""

from .arms import Arm, arms_of
from .running import run_study
from .study import Study

__all__ = ["Arm", "Study", "arms_of", "run_study"]

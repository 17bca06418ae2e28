"""Sizes of positions from forecasts, traded bar by bar with costs: secondary, and said to be.

Long or in cash, never in debt. How much is held follows the forecast's spread; nobody forecasts a
direction here.
"""

from forecaster.strategy.study import RIVALS, Question, study

__all__ = ["RIVALS", "Question", "study"]

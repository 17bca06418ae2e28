"""A language model on a text, end to end: plan a run, train it, score it, sample from it."""

from .plan import TextPlan, preset_table
from .request import Prepared, TrainRequest, prepare
from .run import LanguageRun, open_run, score_run, train_run
from .writing import sample_text, written

__all__ = [
    "LanguageRun",
    "Prepared",
    "TextPlan",
    "TrainRequest",
    "open_run",
    "prepare",
    "preset_table",
    "sample_text",
    "score_run",
    "train_run",
    "written",
]

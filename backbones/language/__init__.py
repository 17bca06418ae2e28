"""A language model on a text, end to end: plan a run, train it, score it, sample from it."""

from .opened import LanguageRun, open_run, sample_text, score_run, written
from .plan import TextPlan, preset_table
from .request import Prepared, TrainRequest, prepare
from .run import train_run

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

"""BackboneForecaster: any preset of backbones on tokenised bars.

The only package here that imports torch and backbones.
"""

from forecaster.learner.attending import WindowMaps, require_maps, window_maps
from forecaster.learner.fields import STEPS as FIELD_STEPS
from forecaster.learner.fields import FieldHeads, TaughtFields, fit_fields, load_fields
from forecaster.learner.fitted import FittedLearner
from forecaster.learner.forecaster import BackboneForecaster, Keep, kept_losses, load_learner
from forecaster.learner.machine import same_generator
from forecaster.learner.reader import Start
from forecaster.learner.walking import NetworkLaw, Sampler, require_paths
from forecaster.learner.windows import tokenise

__all__ = [
    "FIELD_STEPS",
    "BackboneForecaster",
    "FieldHeads",
    "FittedLearner",
    "Keep",
    "NetworkLaw",
    "Sampler",
    "Start",
    "TaughtFields",
    "WindowMaps",
    "fit_fields",
    "kept_losses",
    "load_fields",
    "load_learner",
    "require_maps",
    "require_paths",
    "same_generator",
    "tokenise",
    "window_maps",
]

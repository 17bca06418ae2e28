"""BackboneForecaster: any preset of backbones on tokenised bars.

The only package here that imports torch and backbones.
"""

from forecaster.learner.fitted import FittedLearner
from forecaster.learner.forecaster import BackboneForecaster, Keep, load_learner

__all__ = ["BackboneForecaster", "FittedLearner", "Keep", "load_learner"]

"""Does anything know the future: leak laws and placebos on a run, smells on a predictions file."""

from forecaster.audit.predictions import audit_predictions
from forecaster.audit.run import audit_run

__all__ = ["audit_predictions", "audit_run"]

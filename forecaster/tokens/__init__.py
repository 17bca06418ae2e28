"""Bars as tokens, and back: fitted, frozen values."""

from forecaster.tokens.basis import FEWEST_MASS, smooth_basis
from forecaster.tokens.edges import WIDEST, Kind
from forecaster.tokens.fitting import fit_tokenizer
from forecaster.tokens.tokenizer import BarTokenizer

__all__ = ["FEWEST_MASS", "WIDEST", "BarTokenizer", "Kind", "fit_tokenizer", "smooth_basis"]

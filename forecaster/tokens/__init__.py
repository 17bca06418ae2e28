"""Bars as tokens, and back: fitted, frozen values."""

from forecaster.tokens.basis import smooth_basis
from forecaster.tokens.edges import WIDEST, Kind
from forecaster.tokens.tokenizer import BarTokenizer, fit_tokenizer

__all__ = ["WIDEST", "BarTokenizer", "Kind", "fit_tokenizer", "smooth_basis"]

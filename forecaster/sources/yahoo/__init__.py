"""Bars of Yahoo Finance, by yfinance. Nothing heavy is imported before something is fetched."""

from forecaster.sources.yahoo.patience import Clock
from forecaster.sources.yahoo.source import Yahoo

__all__ = ["Clock", "Yahoo"]

"""Distributions of future market returns: tokenised bars, walk-forward, honest baselines."""

"""Whole candles, simulated bar after bar: features recomputed along each path."""

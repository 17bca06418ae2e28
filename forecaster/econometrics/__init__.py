"""Fitted volatility models and shapes: what the baselines show and what tokenisers are made of."""

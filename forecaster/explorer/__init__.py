"""Walk through every forecast of a backtest in a browser: `forecaster explore`, extra `ui`."""

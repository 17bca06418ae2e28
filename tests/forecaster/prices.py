# prices.py: daily bars in a SQLite file, for --source prices:Prices --path prices.db
import sqlite3
from datetime import date
from pathlib import Path

import numpy as np

from forecaster.bars import Bars
from forecaster.sources import Delivery, delivery
from forecaster.symbols import Symbol

QUERY = "select day, open, high, low, close, volume from bars where symbol = ? order by day"


class Prices:
    def __init__(self, path: Path) -> None:
        self.database = sqlite3.connect(path)

    def symbols(self) -> tuple[Symbol, ...]:
        found = self.database.execute("select distinct symbol from bars")
        return tuple(Symbol(name) for (name,) in found)

    def fetch(
        self,
        symbol: Symbol,
        interval: str = "1d",
        start: date | None = None,
        end: date | None = None,
    ) -> Delivery:
        days, *numbers = zip(*self.database.execute(QUERY, [symbol]), strict=True)
        names = ("open", "high", "low", "close", "volume")
        bars = Bars(
            symbol=symbol,
            interval=interval,
            opened_at=np.array(days, "datetime64[us]"),
            **{name: np.array(column) for name, column in zip(names, numbers, strict=True)},
            adjustment=np.ones(len(days)),  # printed prices, nothing to adjust
        )
        return delivery(bars, "prices", start, end)

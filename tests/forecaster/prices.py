# prices.py: daily bars in a SQLite file, for --source prices:Prices --path prices.db
import sqlite3
from datetime import date
from pathlib import Path

import numpy as np

from forecaster.bars import Bars
from forecaster.sources import Delivery, delivery
from forecaster.symbols import Symbol

FIELDS = ("open", "high", "low", "close", "volume")


class Prices:
    def __init__(self, path: Path) -> None:
        self.database = sqlite3.connect(path)

    def symbols(self) -> tuple[Symbol, ...]:
        found = self.database.execute("select distinct symbol from bars")
        return tuple(Symbol(name) for (name,) in found)

    def fetch(
        self, symbol: Symbol, interval: str, start: date | None, end: date | None
    ) -> Delivery:
        query = f"select day, {', '.join(FIELDS)} from bars where symbol = ? order by day"
        days, *columns = zip(*self.database.execute(query, [symbol]), strict=True)
        bars = Bars(
            symbol=symbol,
            interval=interval,
            opened_at=np.array(days, "datetime64[us]"),
            **{name: np.array(column) for name, column in zip(FIELDS, columns, strict=True)},
            adjustment=np.ones(len(days)),  # printed prices, nothing to adjust
        )
        return delivery(bars, "prices", start, end)

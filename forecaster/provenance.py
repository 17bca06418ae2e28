"""Where bars come from: stored beside them, so that any number can be traced to its file."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from forecaster.bars import Bars
from forecaster.events import Event


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """One delivery of bars by one source."""

    source: str  # bundled, csv, parquet, synthetic, ...
    package: str  # the distribution that holds or makes them; empty for a user's file
    version: str  # of the package
    sha256: str  # of the file that they were read from; empty where there is no file
    fetched_at: str  # UTC, ISO 8601
    notes: tuple[str, ...] = ()  # what was dropped or is unknown, one line each
    currency: str = ""  # these three where the source tells; GBp is pence
    exchange: str = ""  # the source's own code
    timezone: str = ""
    events: tuple[Event, ...] = ()  # what the adjustment is made of, where the source tells

    @property
    def moment(self) -> datetime:
        """`fetched_at` in UTC, which a time without a zone is of. ValueError where it is none."""
        told = datetime.fromisoformat(self.fetched_at)
        try:
            return told.replace(tzinfo=told.tzinfo or UTC).astimezone(UTC)
        except OverflowError as error:
            raise ValueError(f"{self.fetched_at!r} is before all years") from error


def content_sha256(bars: Bars) -> str:
    """Hash of the interval and every number of `bars`: equal on every machine."""
    digest = hashlib.sha256(bars.interval.encode())
    digest.update(bars.opened_at.astype("<i8").tobytes())
    for column in (bars.open, bars.high, bars.low, bars.close, bars.volume, bars.adjustment):
        one_nan = np.where(np.isnan(column), np.nan, column)  # a NaN may carry any payload
        digest.update(one_nan.astype("<f8").tobytes())
    return digest.hexdigest()

"""Sessions of exchanges: which was the last to close, which come next. Holidays included.

Names are those of exchange_calendars (XNYS); `calendar_name` knows them by Yahoo's codes.
"""

import warnings
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from forecaster.bars import Times

if TYPE_CHECKING:
    from exchange_calendars import ExchangeCalendar

CODES_OF_YAHOO = {
    "XNYS": "NMS NGM NCM NYQ PCX ASE BTS NAS SNP DJI NIM WCB",
    "XLON": "LSE FGI",
    "XETR": "GER",
    "XFRA": "FRA",
    "XPAR": "PAR",
    "XAMS": "AMS",
    "XBRU": "BRU",
    "XLIS": "LIS",
    "XMIL": "MIL",
    "XMAD": "MCE",
    "XSWX": "EBS",
    "XWBO": "VIE",
    "XSTO": "STO",
    "XCSE": "CPH",
    "XHEL": "HEL",
    "XOSL": "OSL",
    "XDUB": "ISE",
    "XWAR": "WSE",
    "XTSE": "TOR",
    "BVMF": "SAO",
    "XMEX": "MEX",
    "XTKS": "JPX",
    "XHKG": "HKG",
    "XASX": "ASX",
    "XKRX": "KSC",
    "XSHG": "SHH SHZ",
    "XBOM": "NSI BSE",
    "XTAI": "TAI",
    "24/7": "CCC",
    "24/5": "CCY",
}
NAMES = {code: name for name, codes in CODES_OF_YAHOO.items() for code in codes.split()}


def calendar_name(yahoo_code: str) -> str:
    """The calendar of an exchange by Yahoo's code; empty for one that is not known here."""
    return NAMES.get(yahoo_code, "")


def last_closed(name: str, now: datetime) -> date | None:
    """The last session that was closed at `now`; None where the calendar is unknown."""
    if not name:
        return None
    calendar = _calendar(name)
    closes = calendar.closes.dt.tz_convert(None).to_numpy()
    n = int(np.searchsorted(closes, np.datetime64(now.astimezone(UTC).replace(tzinfo=None))))
    return calendar.sessions[n - 1].date() if n else None


def count(name: str, first: date, last: date) -> int | None:
    """How many sessions there are from `first` to `last`; None where nobody knows."""
    if not name:
        return None
    sessions = _calendar(name).sessions
    if first < sessions[0].date():
        return None
    return int(((sessions >= np.datetime64(first)) & (sessions <= np.datetime64(last))).sum())


@lru_cache(maxsize=16)
def _calendar(name: str) -> "ExchangeCalendar":
    import exchange_calendars

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas' on how the library reads its own columns
        return exchange_calendars.get_calendar(name)


def sessions_after(name: str, day: date, n: int) -> Times:
    """[<= n] labels of the sessions after `day`: a calendar ends a year from now."""
    sessions = _calendar(name).sessions
    later = sessions[sessions > np.datetime64(day)][:n]
    return later.to_numpy().astype("datetime64[us]")

"""Sessions of exchanges: which was the last to close, which come next. Holidays included.

Names are those of exchange_calendars (XNYS); `calendar_name` knows them by Yahoo's codes.
"""

import warnings
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any

import numpy as np

from forecaster.bars import Times

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
SUFFIXES = {
    "": "XNYS",
    "L": "XLON",
    "DE": "XETR",
    "F": "XFRA",
    "PA": "XPAR",
    "AS": "XAMS",
    "BR": "XBRU",
    "LS": "XLIS",
    "MI": "XMIL",
    "MC": "XMAD",
    "SW": "XSWX",
    "VI": "XWBO",
    "ST": "XSTO",
    "CO": "XCSE",
    "HE": "XHEL",
    "OL": "XOSL",
    "IR": "XDUB",
    "WA": "XWAR",
    "TO": "XTSE",
    "SA": "BVMF",
    "MX": "XMEX",
    "T": "XTKS",
    "HK": "XHKG",
    "AX": "XASX",
    "KS": "XKRX",
    "SS": "XSHG",
    "SZ": "XSHG",
    "NS": "XBOM",
    "BO": "XBOM",
    "TW": "XTAI",
}
SINCE = np.datetime64("1990-01-01")
FITTING, LEAST = 260, 60  # bars that must be a calendar's sessions: a year has its holidays
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


def _calendar(name: str) -> Any:
    from forecaster.sessions import exchange_calendar

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas' on how the library reads its own columns
        return exchange_calendar(name)


def next_sessions(symbol: str, labels: Times, n: int) -> Times | None:
    """[n] labels after `labels` [T] of daily bars; None where no calendar is known to fit.

    A symbol's suffix says where it is listed (Yahoo's names; none is New York); that is believed
    where the labels of a year are that calendar's sessions, all of them and no other.
    """
    suffix = symbol.rpartition(".")[2] if "." in symbol else ""
    recent = labels[-FITTING:]
    if suffix not in SUFFIXES or len(recent) < LEAST or recent[0] < SINCE:
        return None
    sessions = _sessions(SUFFIXES[suffix])
    inside = sessions[(sessions >= recent[0]) & (sessions <= recent[-1])]
    later = sessions[sessions > recent[-1]][:n]
    return later if np.array_equal(inside, recent) and len(later) == n else None


@lru_cache(maxsize=16)
def _sessions(name: str) -> Times:
    return _calendar(name).sessions.to_numpy().astype("datetime64[us]")

"""Which intervals Yahoo has, and how far back: told before anything is asked."""

from datetime import date, datetime, timedelta

from forecaster.errors import UsageError, suggestion

# Days before now that Yahoo answers for; of 1m it keeps 30 and gives 7 at a time.
REACH = {"1m": 7, "5m": 60, "15m": 60, "30m": 60, "1h": 730}
INTERVALS = (*REACH, "1d")
FIRST_DAY = date(1900, 1, 1)
# Yahoo shows several exchanges 15 to 20 minutes late, closing auctions among them.
SETTLED_AFTER = timedelta(minutes=30)


def refuse(interval: str, start: date | None, now: datetime) -> None:
    """Raises UsageError for what Yahoo never has."""
    if interval == "1wk":
        raise UsageError(
            "source yahoo has no 1wk: Yahoo adjusts weekly bars wrongly; fetch --interval 1d"
        )
    if interval not in INTERVALS:
        raise UsageError(f"source yahoo has no {interval}{suggestion(interval, INTERVALS)}")
    if start is not None and start > now.date():
        raise UsageError(f"--start {start} is in the future: it is {now.date()}")


def first_day(interval: str, start: date | None, end: date | None, now: datetime) -> date:
    """The first day to ask for. Raises UsageError for what Yahoo does not have any more."""
    if interval not in REACH:
        return start or FIRST_DAY
    oldest = now.date() - timedelta(days=REACH[interval] - 1)
    for option, day in (("--start", start), ("--end", end)):
        if day is not None and day < oldest:
            raise UsageError(
                f"{option} {day}: Yahoo gives {interval} bars of the last {REACH[interval]} days"
                f" only; give {option} {oldest} or later, or a longer --interval"
            )
    return start or oldest

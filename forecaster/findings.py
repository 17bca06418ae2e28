"""The report on one symbol's bars, as it is shown and stored: see quality.py, which makes it."""

from pydantic import BaseModel, ConfigDict, Field


class Finding(BaseModel):
    """How many, of how many, and the first of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(ge=0)
    of: int = Field(ge=0)
    first: tuple[str, ...] = ()


class Quality(BaseModel):
    """The findings on one symbol's bars."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    symbol: str
    interval: str
    rows: int
    sessions: str  # what said which days to expect: an exchange, the others' clock, weekdays
    missing: Finding  # expected days (weeks) without a bar
    unexpected: Finding  # days with bars that are no sessions
    short_days: Finding  # intraday: days with less than half of the usual bars of their weekday
    stale_opens: Finding  # open equals the close before: no open at all, or a rare coincidence
    stale_years: str  # years in which most are, as "1999-2005"; empty for none
    stale_share: float  # of the opens of those years
    zero_volume: Finding
    unknown_volume: Finding
    jumps: Finding  # adjusted closes that move by more than 40 %: a misprint, or an event missing
    repeated: Finding  # the bar before once more
    partial: Finding  # not over when fetched, or off the interval's grid: a snapshot
    flat: Finding  # high equals low
    close_only: Finding  # open, high and low are unknown

    @property
    def line(self) -> str:
        """One line for people: what there is, or that there is nothing."""
        found = [
            f"{words}: {finding.count} ({self._places(name)})"
            for name, words in WORDS.items()
            if (finding := getattr(self, name)).count
        ]
        rows = f"{self.symbol}: {self.rows} bars, sessions by {self.sessions}"
        return f"{rows}: {'; '.join(found) or 'nothing odd'}"

    def _places(self, name: str) -> str:
        """The first places, or that it is all of them."""
        finding: Finding = getattr(self, name)
        if name == "stale_opens" and self.stale_years:
            return f"{100 * self.stale_share:.0f} % of {self.stale_years}: not opens"
        if finding.count == finding.of:
            return "all"
        shown = ", ".join(finding.first[:2])
        return shown if finding.count <= 2 else f"{shown}, ..."


WORDS = {
    "stale_opens": "stale opens",
    "missing": "missing sessions",
    "unexpected": "days that are no session",
    "short_days": "short days",
    "zero_volume": "volume 0",
    "unknown_volume": "volume unknown",
    "jumps": "jumps without an event",
    "repeated": "repeated bars",
    "partial": "partial bars",
    "flat": "flat bars",
    "close_only": "closes only",
}

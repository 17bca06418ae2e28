"""What went wrong, told from the wire and not from yfinance's words; and whether to try again."""

from dataclasses import dataclass

from forecaster.errors import DataError, ForecasterError, ProviderError, printable
from forecaster.sources.yahoo.document import BadDocument, WrongSymbol, refusal

OFFLINE = "data without a network: --source bundled"
AGAIN = "run the same command again later: what is stored is not asked for again"


@dataclass(frozen=True)
class Failure:
    """An error of ours, and whether another try can help."""

    error: ForecasterError
    retry: bool
    rate_limited: bool = False
    retry_after: str = ""
    general: bool = False  # another symbol would fail in the same way


def explain(symbol: str, error: Exception) -> Failure:
    """The failure behind an exception of the session or of yfinance where no status tells it."""
    name, text = type(error).__name__, printable(str(error))
    match error:
        case WrongSymbol():
            line = f"{symbol}: Yahoo answered with {text}: name that symbol if it is meant"
            return Failure(DataError(line), retry=False)
        case BadDocument():
            return Failure(ProviderError(f"{symbol}: Yahoo sent {text}; {AGAIN}"), retry=True)
        case _ if name in ("NotAsked", "TooLarge"):
            line = f"{symbol}: Yahoo's answer is refused: {text}; try another network"
            return Failure(ProviderError(line), retry=False)
        case _ if {"Timeout", "TimeoutError"} & {each.__name__ for each in type(error).__mro__}:
            line = f"{symbol}: Yahoo did not answer in time; {AGAIN}"
            return Failure(ProviderError(line), retry=True, general=True)
        case OSError():
            cause = "no such host" if name == "DNSError" else _short(text)
            line = f"{symbol}: Yahoo is not reachable ({cause}); {OFFLINE}"
            return Failure(ProviderError(line), retry=True, general=True)
        case _:
            line = f"{symbol}: yfinance failed: {name}: {text[:80]}; {AGAIN}"
            return Failure(ProviderError(line), retry=True)


def explain_status(symbol: str, status: int, body: bytes, retry_after: str) -> Failure | None:
    """The failure that a status tells; None for 200, and for what no status says."""
    reason = refusal(body)
    why = f" ({reason})" if reason else ""
    if status == 429:
        line = f"{symbol}: Yahoo limits the rate (HTTP 429); wait some minutes, then {AGAIN}"
        return Failure(ProviderError(line), True, True, retry_after, general=True)
    if status == 404 and reason:
        line = f"{symbol}: not known to Yahoo{why}; look its symbol up at finance.yahoo.com"
        return Failure(DataError(line), retry=False)
    if status in (400, 422) and reason:
        return Failure(DataError(f"{symbol}: Yahoo refused the request{why}"), retry=False)
    if status == 200 and reason:
        return Failure(DataError(f"{symbol}: Yahoo has no bars{why}"), retry=False)
    if status >= 400:
        line = f"{symbol}: Yahoo answered with HTTP {status}{why}; {AGAIN}"
        return Failure(ProviderError(line), retry=status >= 500 or status == 401)
    return None


def empty(symbol: str) -> Failure:
    """An answer without bars and without a reason is no proof that there are none."""
    line = f"{symbol}: Yahoo answered with no bars and no reason; nothing is changed; {AGAIN}"
    return Failure(ProviderError(line), retry=True)


def _short(text: str) -> str:
    """curl's cause without its own prefix and address of the manual."""
    return text.removeprefix("Failed to perform, ").partition(". See ")[0][:80]

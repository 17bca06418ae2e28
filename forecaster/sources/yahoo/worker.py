"""One call in a thread of its own, so that Ctrl-C and deadlines do not wait for a socket."""

import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")
POLL_S = 0.1  # how late a signal may be noticed


class Abandoned(TimeoutError):  # noqa: N818 - the call goes on, nobody waits for it
    """The call did not come back in time."""


def call(function: Callable[[], Result], timeout_s: float) -> Result:
    """What `function` returns or raises. The thread is a daemon: a hung one holds nobody up."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    waited = 0.0
    while thread.is_alive() and waited < timeout_s:
        thread.join(POLL_S)
        waited += POLL_S
    if errors:
        raise errors[0]
    if not results:
        raise Abandoned(f"no answer within {timeout_s:.0f} s")
    return results[0]

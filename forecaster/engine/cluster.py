"""Workers of a dask scheduler, on this machine or others.

They need the same code and packages, no shared disk: bars go out, tables come back. dask moves
objects as pickles, so whoever reaches a scheduler owns its workers: keep it in a trusted network.
"""

import hashlib
import platform
import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from forecaster.errors import ForecasterError, ProviderError, UsageError

if TYPE_CHECKING:
    from distributed import Client

Task = TypeVar("Task")
Result = TypeVar("Result")
PACKAGES = ("numpy", "scipy", "pandas", "pyarrow", "scikit-learn", "statsmodels", "torch")
PATIENCE = 15  # seconds for a scheduler to answer, and for its first worker
MOST_LOSSES = 3  # of all workers with what they held, no task finished between them


@dataclass(frozen=True)
class Cluster:
    """The workers of the scheduler at an address, as tcp://host:8786."""

    address: str

    def __post_init__(self) -> None:
        """UsageError for what is no address: dask would look for it for half a minute."""
        if not re.fullmatch(r"(tcp|tls)://[^/\s]+:\d+", self.address):
            raise UsageError(
                f"scheduler {self.address!r} is no address: wanted tcp://HOST:PORT, as `dask"
                " scheduler` prints it"
            )

    def __str__(self) -> str:
        return f"the workers of {self.address}"

    def run(
        self,
        tasks: Sequence[Task],
        work: Callable[[Task], Result],
        alike: Callable[[Task], Hashable] | None = None,  # noqa: ARG002  dask places tasks
    ) -> Iterator[tuple[Task, Result]]:
        """As `Engine.run`. A worker that dies costs what it was at; others may join meanwhile.

        Raises UsageError without the extra, for workers of other code or with several threads;
        ProviderError where nobody answers; ForecasterError for a task that kills its workers.
        """
        if not tasks:
            return
        client = self._client()
        try:
            self._require_like(client)
            yield from self._through(client, tasks, work)
        finally:
            client.close(timeout=2)

    def _client(self) -> "Client":
        """A connection with at least one worker behind it."""
        try:
            from distributed import Client
        except ImportError:
            raise UsageError(
                '--scheduler needs dask: pip install "forecaster-lab[cluster]"'
            ) from None
        try:
            client = Client(self.address, timeout=PATIENCE, set_as_default=False)
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            raise ProviderError(
                f"scheduler {self.address} does not answer ({type(error).__name__}): start one with"
                " `dask scheduler` and give the address that it prints"
            ) from None
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            client.close(timeout=2)
            raise ProviderError(
                f"scheduler {self.address} has no worker: start some with"
                f" `dask worker {self.address} --nthreads 1`"
            ) from None
        return client

    def _require_like(self, client: "Client") -> None:
        """Results must not depend on who made them."""
        ours = identity()
        found: Any = client.run(identity)
        for name, theirs in found.items():
            other = [f"{k} {theirs.get(k)} (here {ours[k]})" for k in ours if theirs[k] != ours[k]]
            if other:
                raise UsageError(f"worker {name} has {', '.join(other)}: install the same there")
        workers: Any = client.scheduler_info(n_workers=-1)["workers"]
        for name, worker in workers.items():
            if worker["nthreads"] != 1:
                raise UsageError(
                    f"worker {name} has {worker['nthreads']} threads: start workers with"
                    " --nthreads 1, as many processes as there are cores"
                )

    def _through(
        self, client: "Client", tasks: Sequence[Task], work: Callable[[Task], Result]
    ) -> Iterator[tuple[Task, Result]]:
        """All tasks; what was sent once and went down with its holders is sent again."""
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError

        left, losses = dict(enumerate(tasks)), 0
        while left:
            try:
                for number, result in _submitted(client, left, work):
                    losses = 0
                    yield left.pop(number), result
            except FutureCancelledError:
                losses += 1
                if losses == MOST_LOSSES:
                    raise ProviderError(
                        f"scheduler {self.address} lost all its workers {losses} times:"
                        f" {len(left)} of {len(tasks)} cells are left; resume when they are back"
                    ) from None
            except KilledWorker as error:
                raise ForecasterError(
                    f"a cell killed each worker that tried it, out of memory perhaps: {error};"
                    " resume with more memory a worker"
                ) from None


def _submitted(
    client: "Client", left: dict[int, Task], work: Callable[[Task], Result]
) -> Iterator[tuple[int, Result]]:
    """(number, result) as they finish; what is not asked for any more is called off."""
    from distributed import as_completed

    shared = client.scatter(work, broadcast=True, hash=False)
    futures = {
        client.submit(_do, shared, task, pure=False): number for number, task in left.items()
    }
    try:
        for future in as_completed(list(futures), loop=client.loop):
            yield futures[future], future.result()
            future.release()
    finally:
        client.cancel(list(futures))


def _do(work: Callable[[Any], Any], task: Any) -> Any:
    """One task on one thread: more would change bits."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return work(task)


def identity() -> dict[str, str]:
    """What results depend on besides task and work: code, Python, packages."""
    found = {"python": platform.python_version(), "code": _code()}
    return found | {name: version(name) for name in PACKAGES}


def _code() -> str:
    """The first digits of a hash of both packages' sources."""
    state = hashlib.sha256()
    root = Path(__file__).resolve().parents[2]
    for package in ("backbones", "forecaster"):
        for path in sorted((root / package).rglob("*.py")):
            state.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return state.hexdigest()[:12]

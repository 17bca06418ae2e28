"""A run is a folder: what was asked, what was used, what came out. Never overwritten.

config.toml  config.resolved.json  environment.json  data.json  status.json  summary.json  log.txt
folds/ (one result a fold and model)  predictions.parquet  scores.parquet  report.html
checkpoints/
"""

import json
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from forecaster.atomic import TEMPORARY, commit_bytes, commit_folder, read_regular
from forecaster.config import RunConfig
from forecaster.errors import CheckpointError, StorageError, UsageError, printable, suggestion
from forecaster.held import hold, is_held, let_go
from forecaster.leftovers import sweep

PACKAGES = ("torch", "numpy", "scipy", "pandas", "pyarrow", "arch", "statsmodels", "scoringrules")
RUNS = Path("runs")
RUNNING, CUT_OFF = "running", "cut off"
LIMIT_BYTES = 64 << 20  # of a JSON file of a run


@dataclass(frozen=True)
class RunFolder:
    """One execution of a config."""

    path: Path

    @classmethod
    def create(
        cls,
        path: Path | None,
        kind: str,
        config: RunConfig,
        data: Mapping[str, Any] | None = None,
    ) -> "RunFolder":
        """A new folder, there with all that a resume needs (`data` is data.json), or not at all.

        Held until `finish`. UsageError where it exists, StorageError where it cannot be made.
        """
        if path is None:
            now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
            path = RUNS / f"{now}-{kind}-{config.digest[:6]}"
        if path.exists():
            raise UsageError(
                f"run {path} exists; choose another --out, or continue it with --resume {path}"
            )
        records: dict[str, Mapping[str, Any]] = {
            "status.json": {"state": RUNNING, "kind": kind},
            "config.resolved.json": config.model_dump(mode="json"),
            "environment.json": environment(),
        }
        if data is not None:
            records["data.json"] = data
        sweep(path.parent)
        commit_folder(path, {name: _json(record) for name, record in records.items()})
        hold(path)
        return cls(path)

    @classmethod
    def open(cls, path: Path, kind: str | None = None) -> "RunFolder":
        """A folder that a run made. Raises UsageError, with what there is, where it is none.

        Raises CheckpointError where it is a run of another kind than asked for.
        """
        if not (path / "status.json").is_file():
            known = [each.path.name for each in list_runs(path.parent)]
            hint = (
                suggestion(path.name, known) or f"; make one with: forecaster {kind or 'backtest'}"
            )
            raise UsageError(f"run {printable(str(path))} not found{hint}")
        run = cls(path)
        found = run.read_json("status.json").get("kind")
        if kind is not None and found != kind:
            raise CheckpointError(
                f"run {printable(str(path))} is a {found}, not a {kind}; make one with:"
                f" forecaster {kind}"
            )
        return run

    def require_done(self) -> None:
        """Raises UsageError, with how to go on, where the run has not ended well."""
        state = self.state()
        if state == RUNNING:
            raise UsageError(f"run {self.path} is {RUNNING}: wait until it has ended")
        if state != "done":
            kind = self.read_json("status.json")["kind"]
            raise UsageError(
                f"run {self.path} is {state}; go on with: forecaster {kind} --resume {self.path}"
            )

    def state(self) -> str:
        """How it ended, RUNNING, or CUT_OFF where its process died without a word.

        Raises CheckpointError for a damaged folder.
        """
        state = self.read_json("status.json").get("state")
        return CUT_OFF if state == RUNNING and not is_held(self.path) else str(state)

    def go_on(self) -> None:
        """Record that it runs again, and remove what a killed process left unfinished.

        Raises CheckpointError, with both versions, where it was begun by other code, LockedError
        where another process is at it.
        """
        there, here = _versions(self.read_json("environment.json")), _versions(environment())
        odd = [name for name in here if there.get(name) != here[name]]
        if odd:
            words = [f"{name} {there.get(name)} in the run, {here[name]} here" for name in odd]
            raise CheckpointError(
                f"run {self.path} was begun by other code: {', '.join(words)}; start a new run,"
                " or install what it was begun with"
            )
        hold(self.path)
        for folder in (self.path, self.path / "folds"):
            sweep(folder)
        self._note(RUNNING)

    def config(self) -> RunConfig:
        """The resolved configuration. Raises CheckpointError where this version cannot read it."""
        try:
            return RunConfig.model_validate(self.read_json("config.resolved.json"))
        except ValueError:
            raise CheckpointError(
                f"{self.path}/config.resolved.json is of another version; start a new run"
            ) from None

    def write_json(self, name: str, record: dict[str, Any]) -> str:
        """Write atomically, readable by people; the sha256 of the bytes."""
        self.path.mkdir(parents=True, exist_ok=True)
        return commit_bytes(self.path / name, _json(record))

    def read_json(self, name: str) -> dict[str, Any]:
        """Raises CheckpointError for a file that is missing or not a JSON object.

        Raises StorageError where the system refuses to read it: the run may be sound.
        """
        try:
            record = json.loads(read_regular(self.path / name, LIMIT_BYTES))
            if not isinstance(record, dict):
                raise ValueError("not an object")
        except (StorageError, ValueError, RecursionError) as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError):
                raise
            raise CheckpointError(
                f"{self.path}/{name} is missing or damaged; start a new run"
            ) from None
        return record

    def finish(self, state: str, **more: Any) -> None:
        """Record how the run ended: done, failed, interrupted. Others may work on it now."""
        try:
            self._note(state, **more)
        finally:
            let_go(self.path)

    def _note(self, state: str, **more: Any) -> None:
        self.write_json("status.json", self.read_json("status.json") | {"state": state} | more)


def find_run(path: Path, kind: str | None = None) -> RunFolder:
    """The run at `path`, or the one of that name in RUNS; raises as `RunFolder.open`."""
    named = not path.exists() and len(path.parts) == 1
    return RunFolder.open(RUNS / path if named else path, kind)


def list_runs(root: Path = RUNS) -> list[RunFolder]:
    """Every run below a folder, oldest first."""
    found = [path.parent for path in sorted(root.glob("*/status.json"))]
    return [RunFolder(path) for path in found if not path.name.startswith(TEMPORARY)]


def _versions(found: Mapping[str, Any]) -> dict[str, str]:
    """Those of an environment.json that results may depend on."""
    return {"forecaster": found["forecaster"], **found["packages"]}


def _json(record: Mapping[str, Any]) -> bytes:
    """Readable by people."""
    return (json.dumps(record, indent=1, allow_nan=False) + "\n").encode()


def environment() -> dict[str, Any]:
    """What a number may depend on besides the config and the bars."""
    return {
        "forecaster": version("forecaster-lab"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in PACKAGES},
        "argv": sys.argv[1:],
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }

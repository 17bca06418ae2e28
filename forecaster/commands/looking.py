"""`forecaster config show` and `forecaster doctor`: what would be used, and on what machine."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from forecaster import display
from forecaster.commands.arguments import Configured, Output
from forecaster.errors import GateError


@dataclass(frozen=True, kw_only=True)
class ConfigShow(Configured):
    """Arguments of `forecaster config show`."""

    quick: bool = False
    presets: tuple[str, ...] = ()
    baselines: str | None = None


@dataclass(frozen=True, kw_only=True)
class Doctor(Output):
    """Arguments of `forecaster doctor`."""

    store: Path = Path("data")


def config_show(given: ConfigShow) -> None:
    """The config that a backtest with these options would have, and what set each value."""
    from forecaster.commands.arguments import listed
    from forecaster.settings import origins, to_toml

    flags = {"presets": given.presets, "baselines": listed(given.baselines)}
    config = given.resolved(quick=given.quick, **flags)
    flags |= {"symbols": given.symbols, "horizons": given.horizons}
    known = origins(given.config, given.settings, flags, quick=given.quick)
    if not given.result({"config": config.model_dump(mode="json"), "origins": known}):
        sys.stdout.write(to_toml(config, known))


def doctor(given: Doctor) -> None:
    """A row a check. Raises GateError where one of them fails."""
    from forecaster.doctor import examine

    found = examine(given.store)
    if not given.result({"checks": [asdict(check) for check in found]}):
        for check in found:
            line = f"{check.state:<4}  {check.name:<14}  {check.found}"
            display.print_line(line + (f"  -> {check.remedy}" if check.remedy else ""))
    failed = [check.name for check in found if check.state == "fail"]
    if failed:
        raise GateError(f"{len(failed)} of {len(found)} checks fail: {', '.join(failed)}")

"""Where each setting of a run comes from, and all of them as TOML."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from forecaster.config import QUICK, RunConfig, read_toml, setting

DEFAULT = "default"


def origins(
    file: Path | None, settings: Sequence[str], flags: Mapping[str, Any], *, quick: bool
) -> dict[str, str]:
    """Dotted key -> what set it last, of those that anything but the defaults has set.

    The order is that of `config.resolve`. Raises UsageError for a file or a setting that is none.
    """
    layers: list[tuple[str, Mapping[str, Any]]] = [("--quick", QUICK)] if quick else []
    if file is not None:
        layers.append((str(file), read_toml(file)))
    layers += [(f"--set {text}", setting(text)) for text in settings]
    given = {name: value for name, value in flags.items() if value not in (None, ())}
    layers.append(("", given))
    return {
        key: origin or f"--{key.replace('_', '-')}"
        for origin, tree in layers
        for key, _ in flat(tree)
    }


def flat(tree: Mapping[str, Any], outer: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of every leaf."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{outer}{key}.")
        else:
            yield f"{outer}{key}", value


def to_toml(config: RunConfig, known: Mapping[str, str]) -> str:
    """The whole config, a line a setting with its origin behind it; `--config` reads it again.

    TOML has no word for nothing: what is not set stands as a comment.
    """
    tree = config.model_dump(mode="json")
    plain = {key: value for key, value in tree.items() if not isinstance(value, dict)}
    lines = [_line(key, value, known.get(key, DEFAULT)) for key, value in plain.items()]
    for table in (key for key in tree if key not in plain):
        lines += ["", f"[{table}]"]
        lines += [
            _line(key, value, known.get(f"{table}.{key}", DEFAULT))
            for key, value in tree[table].items()
        ]
    return "\n".join(lines) + "\n"


def _line(key: str, value: Any, origin: str) -> str:
    text = f"# {key} is not set" if value is None else f"{key} = {json.dumps(value)}"
    return f"{text:<40}  # {' '.join(origin.split())}"

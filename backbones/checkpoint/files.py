"""The files of a checkpoint: found, read, and checked against what was written."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from ..errors import CheckpointError
from ..storage import to_json


def latest(folder: Path) -> Path:
    """The newest complete checkpoint in a `checkpoints` folder.

    CheckpointError where there is none.
    """
    pointer = folder / "LATEST"
    if not pointer.is_file():
        raise CheckpointError(f"{folder} has no checkpoint: it holds no file LATEST")
    return folder / pointer.read_text(encoding="ascii").strip()


def read_config(place: Path) -> dict[str, Any]:
    """The config of the run that made a checkpoint."""
    return json.loads(checked_bytes(place, "config.json"))


def refuse_other_config(place: Path, config: Mapping[str, Any]) -> None:
    """CheckpointError that names every field in which the checkpoint's config is not this one."""
    odd = differences(read_config(place), json.loads(to_json(config)))
    if odd:
        raise CheckpointError(f"{place} is of another configuration: {odd}")


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Every field in which two configs differ, with both values; empty where they are the same."""
    old, new = flat(there), flat(here)
    return "; ".join(
        f"{name}={old.get(name)!r} in the run, {new.get(name)!r} here"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted names."""
    leaves = {}
    for name, value in config.items():
        inner = flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {}
        leaves |= inner or {f"{prefix}{name}": value}
    return leaves


def load_tensors(place: Path, stem: str) -> dict[str, Tensor]:
    """The tensors of one file, its sha256 checked."""
    try:
        return load(checked_bytes(place, f"{stem}.safetensors"))
    except SafetensorError as error:
        raise CheckpointError(f"{place / stem}.safetensors cannot be read: {error}") from error


def checked_bytes(place: Path, name: str) -> bytes:
    """A file of a checkpoint; CheckpointError where it is missing or not as it was written."""
    found, wanted = read_bytes(place / name), read_state(place)["sha256"][name]
    if hashlib.sha256(found).hexdigest() != wanted:
        raise CheckpointError(f"{place / name} is damaged: its sha256 is not {wanted[:12]}...")
    return found


def read_state(place: Path) -> dict[str, Any]:
    """state.json; CheckpointError where it is missing, not JSON, or lacks a field."""
    path = place / "state.json"
    try:
        about = json.loads(read_bytes(path))
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    lacking = {"step", "scale", "steady", "threads", "sha256"} - about.keys()
    if lacking:
        raise CheckpointError(f"{path} is damaged: it has no {min(lacking)!r}")
    return about


def read_bytes(path: Path) -> bytes:
    """A file's bytes; CheckpointError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error

"""The files of a checkpoint: found, read, and checked against what was written."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from ..errors import CheckpointError
from ..storage import to_json

STEP = re.compile(r"step-[0-9]{6,12}")
FIELDS = {"step", "scale", "steady", "threads", "torch", "sha256"}  # of a state
PROCESSES = "processes"  # how many made it; there where it is more than one
SHARD = r"-[0-9]{5}-of-([0-9]{5})\.safetensors"  # after a file's stem
LARGEST_JSON = 1 << 20
LARGEST_BYTES = 64 << 30  # of a file of tensors


def latest(folder: Path) -> Path:
    """The newest complete checkpoint in a `checkpoints` folder.

    CheckpointError where there is none.
    """
    pointer = folder / "LATEST"
    if not pointer.is_file():
        raise CheckpointError(f"{folder} has no checkpoint: it holds no file LATEST")
    name = read_bytes(pointer, 100).decode("latin-1").removesuffix("\n")
    if not STEP.fullmatch(name):  # a name of another form could lead out of the folder
        raise CheckpointError(f"{pointer} is damaged: it names {name!r}, not a step of the run")
    return folder / name


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
    """The tensors of one file, or of the shards of one, their sha256 checked."""
    shards = [load_file(place, name) for name in shard_names(place, stem)]
    if not shards:
        return load_file(place, f"{stem}.safetensors")
    names = dict.fromkeys(name for shard in shards for name in shard)
    parts = {name: [shard[name] for shard in shards if name in shard] for name in names}
    return {name: rows[0] if len(rows) == 1 else torch.cat(rows) for name, rows in parts.items()}


def load_file(place: Path, name: str) -> dict[str, Tensor]:
    """The tensors of one file, its sha256 checked."""
    try:
        return load(checked_bytes(place, name))
    except SafetensorError as error:
        raise CheckpointError(f"{place / name} cannot be read: {error}") from error


def shard_name(stem: str, rank: int, count: int) -> str:
    """The file with the rows that one of `count` processes has; ranks count from 0."""
    return f"{stem}-{rank + 1:05d}-of-{count:05d}.safetensors"


def shard_names(place: Path, stem: str) -> list[str]:
    """The shards of a file in the order of their rows; none where it is one file."""
    known = set(read_state(place)["sha256"])
    found = [int(m[1]) for name in known if (m := re.fullmatch(stem + SHARD, name))]
    if not found:
        return []
    names = [shard_name(stem, rank, found[0]) for rank in range(found[0])]
    if missing := set(names) - known:
        raise CheckpointError(f"{place}/state.json is damaged: it has no {min(missing)}")
    return names


def checked_bytes(place: Path, name: str) -> bytes:
    """A file of a checkpoint; CheckpointError where it is missing or not as it was written."""
    wanted = read_state(place)["sha256"].get(name)
    found = read_bytes(place / name, LARGEST_BYTES)
    if not isinstance(wanted, str):
        raise CheckpointError(f"{place}/state.json is damaged: it has no sha256 of {name}")
    if hashlib.sha256(found).hexdigest() != wanted:
        raise CheckpointError(f"{place / name} is damaged: its sha256 is not {wanted[:12]}...")
    return found


def sealed(about: Mapping[str, Any]) -> bytes:
    """What a state.json holds, with its own hash."""
    return to_json({**about, "self": own_hash(about)})


def own_hash(about: Mapping[str, Any]) -> str:
    """sha256 of a state without its own hash."""
    return hashlib.sha256(to_json(about)).hexdigest()


def read_state(place: Path) -> dict[str, Any]:
    """state.json; CheckpointError where it is missing, not JSON, or not as it was written.

    Checkpoints made before states had a hash of their own are read without one.
    """
    path = place / "state.json"
    try:
        about = json.loads(read_bytes(path, LARGEST_JSON))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    if not isinstance(about, dict):
        raise CheckpointError(f"{path} is damaged: it is not an object")
    found = about.pop("self", None)
    if odd := FIELDS ^ (about.keys() - {PROCESSES}):
        what = "no" if min(odd) in FIELDS else "an unknown"
        raise CheckpointError(f"{path} is damaged: it has {what} {min(odd)!r}")
    if not isinstance(about["sha256"], dict):
        raise CheckpointError(f"{path} is damaged: its 'sha256' is no object")
    if found is not None and found != own_hash(about):
        raise CheckpointError(f"{path} is damaged: its hash is not that of its content")
    return about


def read_bytes(path: Path, largest: int) -> bytes:
    """A file's bytes; CheckpointError where it cannot be read or has more than `largest`."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > largest:
                found = f"{path} has {size} bytes, more than {largest}"
                raise CheckpointError(f"{found}: it is no file of a run")
            return file.read()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error

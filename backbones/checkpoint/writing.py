"""How the files of a checkpoint come to lie in their place: all of them, or none.

One process writes all; of several that have whole tensors, the first; of several that have rows,
each its own, in a folder that all of them see.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from ..distributed import Ranks
from ..distributed.shards import is_shard, local
from ..storage import (
    begin_folder,
    draft_of,
    finish_folder,
    to_json,
    whole_or_gone,
    write_folder,
    write_synced,
)
from .files import sealed, shard_name

Tensors = Mapping[str, Tensor]
ORDINARY = {"format": "pt"}  # what readers of Hugging Face's files ask for


def write_checkpoint(
    place: Path,
    tensors: Mapping[str, Tensors],
    config: Mapping[str, Any],
    about: Mapping[str, Any],
    ranks: Ranks,
) -> None:
    """`tensors` by the stem of their file, config.json, and state.json with the hashes of both."""
    if ranks.sharded:
        write_shards(place, tensors, config, about, ranks)
        return
    with ranks.together():
        if ranks.first:
            files = {f"{stem}.safetensors": packed(stem, each) for stem, each in tensors.items()}
            files["config.json"] = to_json(config)
            hashes = {name: sha256(data) for name, data in files.items()}
            write_folder(place, files | {"state.json": sealed({**about, "sha256": hashes})})


def write_shards(
    place: Path,
    tensors: Mapping[str, Tensors],
    config: Mapping[str, Any],
    about: Mapping[str, Any],
    ranks: Ranks,
) -> None:
    """As `write_checkpoint`, each process its rows; what is not dealt out is in the first shard."""
    draft = draft_of(place, 0)
    with ranks.together(), whole_or_gone(draft, place):
        if ranks.first:
            begin_folder(draft, place)
    with ranks.together(), whole_or_gone(draft, place):
        own = {stem: packed(stem, rows(each, ranks)) for stem, each in tensors.items()}
        for stem, data in own.items():
            write_synced(draft / shard_name(stem, ranks.rank, ranks.count), data)
    told = ranks.all_of(torch.tensor([list(hashlib.sha256(d).digest()) for d in own.values()]))
    with ranks.together(), whole_or_gone(draft, place):
        if ranks.first:
            hashes = {
                shard_name(stem, rank, ranks.count): bytes(digest).hex()
                for rank, digests in enumerate(told)
                for stem, digest in zip(own, digests.tolist(), strict=True)
            }
            hashes["config.json"] = sha256(to_json(config))
            write_synced(draft / "config.json", to_json(config))
            write_synced(draft / "state.json", sealed({**about, "sha256": hashes}))
            finish_folder(draft, place)


def rows(tensors: Tensors, ranks: Ranks) -> dict[str, Tensor]:
    """What this process writes of them."""
    return {n: local(t).contiguous() for n, t in tensors.items() if is_shard(t) or ranks.first}


def packed(stem: str, tensors: Tensors) -> bytes:
    """A safetensors file."""
    return save(dict(tensors), metadata=ORDINARY if stem == "model" else None)


def sha256(data: bytes) -> str:
    """In hexadecimal."""
    return hashlib.sha256(data).hexdigest()

"""`backbones attention`: the maps of one prompt as a page that needs nothing besides itself."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from torch import Tensor

from ..errors import UsageError
from ..language import open_run
from ..language.attention import PromptMaps, prompt_maps
from ..maps import LayerMaps
from ..storage import replace_file
from .pictures import svg, visible

TEMPLATE = "attention.html.j2"
TITLES = {
    "first": "First map: softmax",
    "second": "Second map: softmax",
    "difference": "Difference: first less lam times second (DIFF)",
    "integral": "Integral: mean of the first map over all queries so far (DINT)",
    "sum": "Difference and lam times integral (DINT)",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One head's map, drawn and in words."""

    title: str
    note: str
    drawing: Markup


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """All heads of one map of one layer."""

    title: str
    pictures: tuple[Picture, ...]


def attend(run: Path, prompt: str, out: Path | None) -> dict[str, Any]:
    """Write the page, and return what is said of it: its place, and each head's row sums and lam.

    Without `out` it goes into the run, by a name that the prompt gives it. UsageError where `out`
    exists.
    """
    if out is not None and out.exists():
        raise UsageError(f"{out} exists: name another --out")
    opened = open_run(run)
    found = prompt_maps(opened, prompt)
    name = f"attention-{hashlib.sha256(prompt.encode()).hexdigest()[:8]}.html"
    place = out or run / name
    about = [("run", str(run)), ("preset", opened.plan.preset), ("tokens", str(len(found.tokens)))]
    replace_file(place, page_of(found, about).encode())
    return {
        "page": str(place),
        "bytes": place.stat().st_size,
        "tokens": list(found.tokens),
        "layers": [described(layer) for layer in found.layers],
    }


def described(layer: LayerMaps) -> dict[str, Any]:
    """A layer's maps in numbers: mean row sum of each head, and lam, a mean over the prompt."""
    sums = {name: map_.sum(dim=-1).mean(dim=-1)[0] for name, map_ in layer.maps.items()}
    heads = layer.maps["first"].shape[1]
    return {
        "layer": layer.layer,
        "read": layer.read,
        "row_sums": {name: [round(x, 4) for x in each.tolist()] for name, each in sums.items()},
        "lam": None if layer.lam is None else [round(lam_of(layer, h), 4) for h in range(heads)],
    }


def lam_of(layer: LayerMaps, head: int) -> float:
    """A head's lam, a mean over the prompt."""
    lam = torch.zeros(()) if layer.lam is None else layer.lam
    return float(lam if lam.ndim == 0 else lam[0, head].mean())


def page_of(found: PromptMaps, about: Sequence[tuple[str, str]]) -> str:
    """The page. Tokens are escaped wherever they stand."""
    environment = Environment(
        loader=PackageLoader("backbones.commands", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections = [each for layer in found.layers for each in sections_of(layer, found.tokens)]
    shown = [visible(token) for token in found.tokens]
    return environment.get_template(TEMPLATE).render(about=about, tokens=shown, sections=sections)


def sections_of(layer: LayerMaps, tokens: Sequence[str]) -> list[Section]:
    """One a map of a layer."""
    return [
        Section(
            title=f"Layer {layer.layer + 1}. {TITLES[name]}",
            pictures=tuple(
                picture(layer, head, map_[0, head].float(), tokens) for head in range(map_.shape[1])
            ),
        )
        for name, map_ in layer.maps.items()
    ]


def picture(layer: LayerMaps, head: int, map_: Tensor, tokens: Sequence[str]) -> Picture:
    """A head's map, and what its last token reads most."""
    row, sums = map_[-1], map_.sum(dim=-1)
    most = int(row.abs().argmax())
    note = (
        f"Rows sum to {float(sums.min()):.3f} to {float(sums.max()):.3f}. The last token reads"
        f" {visible(tokens[most])!r}, {len(tokens) - 1 - most} back, most: {float(row[most]):+.3f}."
    )
    if layer.lam is not None:
        note += f" lam {lam_of(layer, head):.3f}."
    title = f"Head {head + 1}"
    words = f"Map of {len(tokens)} tokens, layer {layer.layer + 1}, head {head + 1}. {note}"
    return Picture(title=title, note=note, drawing=svg(map_, tokens, words))

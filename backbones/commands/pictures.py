"""An attention map as SVG with its tokens beside it; the cells are a PNG of one pixel each.

T tokens. Colours have an opacity, so that one picture does on white, on black and on paper.
"""

import struct
import zlib
from base64 import b64encode
from collections.abc import Sequence

import torch
from markupsafe import Markup, escape
from torch import Tensor

POSITIVE, NEGATIVE = (0x44, 0x77, 0xAA), (0xEE, 0x66, 0x77)  # Paul Tol's "bright"
STRONGEST = 0.995  # quantile of a map's weights that has the full colour
CELL, LETTER, GAP, LETTERS = 12, 6, 6, 7  # units of the SVG; letters of a token that are shown
SPACES = {" ": "\u2423", "\n": "\u21b5", "\t": "\u21e5"}


def svg(map_: Tensor, tokens: Sequence[str], words: str) -> Markup:
    """map_ [T, T] with rows that read; `words` say what it shows."""
    shown = [visible(token) for token in tokens]
    margin = GAP + LETTER * max(map(len, shown))
    size, names = margin + CELL * len(tokens), [escape(each) for each in shown]
    rows = "".join(
        f'<text x="{margin - 3}" y="{margin + CELL * (i + 0.8):.1f}" text-anchor="end">'
        f"{name}</text>"
        for i, name in enumerate(names)
    )
    columns = "".join(
        f'<text transform="translate({margin + CELL * (i + 0.8):.1f} {margin - 3}) rotate(-90)">'
        f"{name}</text>"
        for i, name in enumerate(names)
    )
    cells = b64encode(png(coloured(map_))).decode()
    return Markup(
        f'<svg viewBox="0 0 {size} {size}" role="img" aria-label="{escape(words)}">'
        f'<rect x="{margin}" y="{margin}" width="{size - margin}" height="{size - margin}"/>'
        f'<image href="data:image/png;base64,{cells}" x="{margin}" y="{margin}"'
        f' width="{size - margin}" height="{size - margin}"/>{rows}{columns}</svg>'
    )


def visible(token: str) -> str:
    """A token with its white space to be seen, short enough to stand beside a row."""
    shown = "".join(SPACES.get(c, c if c.isprintable() else "\u00b7") for c in token)
    return shown if len(shown) <= LETTERS else shown[: LETTERS - 1] + "\u2026"


def coloured(map_: Tensor) -> Tensor:
    """Weights [T, T] -> bytes [T, T, 4]: colour by sign, opacity by size."""
    past = torch.ones_like(map_, dtype=torch.bool).tril()
    most = float(map_[past].abs().float().quantile(STRONGEST)) or 1.0
    sides = torch.tensor([POSITIVE, NEGATIVE], dtype=torch.uint8)
    opacity = (255 * (map_.abs() / most).clamp(max=1)).round().to(torch.uint8)
    return torch.cat((sides[(map_ < 0).long()], opacity.unsqueeze(-1)), dim=-1)


def png(pixels: Tensor) -> bytes:
    """Bytes [rows, columns, 4] of red, green, blue, opacity as a file (ISO/IEC 15948)."""
    rows, columns, _ = pixels.shape
    header = struct.pack(">IIBBBBB", columns, rows, 8, 6, 0, 0, 0)
    unfiltered = torch.zeros(rows, 1, dtype=torch.uint8)  # each row says how it was filtered
    data = torch.cat((unfiltered, pixels.flatten(1)), dim=1).numpy().tobytes()
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(data, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, body) for kind, body in parts)


def chunk(kind: bytes, body: bytes) -> bytes:
    """A part of a PNG: its length, kind, body and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

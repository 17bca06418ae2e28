"""Who may import whom: layers stand bottom up, and a module imports lower ones only."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS: dict[str, list[set[str]]] = {
    "backbones": [
        {"errors", "freed", "made"},
        {"storage"},
        {"config", "past", "by_hand"},
        {"recipe", "lengths"},
        {"init", "positions", "layers"},
        {"stream", "short_conv"},
        {"attention", "ffn", "residual", "embedding"},
        {"model"},
        {"losses", "optim", "sphere", "text", "maps"},
        {"distributed"},
        {"checkpoint"},
        {"train", "generate"},
        {"presets"},
        {"language"},
        {"bench", "compare"},
        {"commands"},
        {"cli"},
    ],
    "forecaster": [
        {"errors"},
        {"symbols", "display", "exchanges", "findings", "stages", "key_order", "encoding"},
        {"bars", "config"},
        {"events", "settings"},
        {"atomic", "provenance", "candle", "sessions"},
        {"quality", "leftovers", "held"},
        {"sources", "store", "runs"},
        {"overlap"},
        {"asking"},
        {"refetching", "fetch_report"},
        {"judging"},
        {"features", "distributions"},
        {"protocol", "frames", "ledger"},
        {"parquet_chunks"},
        {"econometrics"},
        {"folds", "tokens"},
        {"paths", "vault"},
        {"learner", "baselines"},
        {"pooled", "path_source"},
        {"scores"},
        {"inference", "network_scores", "sketches"},
        {"engine", "cells"},
        {"backtest", "fetching"},
        {"summary", "training"},
        {"sampling", "strategy", "predicting", "doctor"},
        {"workflows", "boundary", "tables", "details", "path_scores"},
        {"audit", "report", "side_by_side", "bench"},
        {"explorer", "beside"},
        {"commands"},
        {"cli"},
    ],
}
MAY_USE_PACKAGE = {"backbones": set[str](), "forecaster": {"backbones"}}
ONLY_IN = {
    "torch": {"forecaster/learner", "backbones"},
    # Names for a shell to complete must not wait for torch, as importing the learner would.
    "backbones": {"forecaster/learner", "backbones", "forecaster/commands/completing.py"},
    "yfinance": {"forecaster/sources"},
    "click": {
        *("forecaster/cli.py", "forecaster/commands/groups.py", "forecaster/commands/shared.py"),
        *("backbones/cli.py", "backbones/commands/shared.py", "backbones/commands/bars.py"),
    },
    "pandas": {"forecaster"},
    "pyarrow": {"forecaster", "backbones/compare", "backbones/bench"},
    "plotly": {"forecaster/report", "backbones/compare"},
    "sklearn": {"forecaster"},
    "exchange_calendars": {"forecaster/sessions.py"},
    "dash": {"forecaster/explorer"},
    "distributed": {"forecaster/engine"},
}


def modules() -> list[Path]:
    return [p for package in LAYERS for p in sorted((ROOT / package).rglob("*.py"))]


def imports(path: Path, source: str | None = None) -> Iterator[str]:
    """Absolute dotted names that a file imports, relative ones resolved."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text() if source is None else source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            where = ".".join((*base, node.module or "")).strip(".")
            yield from (f"{where}.{alias.name}" for alias in node.names)


def broken_rules(path: Path, source: str | None = None) -> list[str]:
    """What a file imports that it may not."""
    relative = path.relative_to(ROOT)
    package, own = relative.parts[0], relative.parts[1].removesuffix(".py")
    level = {name: i for i, names in enumerate(LAYERS[package]) for name in names}
    broken = []
    for name in imports(path, source):
        other, _, tail = name.partition(".")
        target = tail.partition(".")[0]
        if other in LAYERS and other != package and other not in MAY_USE_PACKAGE[package]:
            broken.append(f"{relative} imports {name}: another package")
        inside = other == package and own in level and target in level and target != own
        if inside and level[target] >= level[own]:
            broken.append(f"{relative} imports {name}: not a lower layer")
        homes = ONLY_IN.get(other)
        if homes and not any(str(relative).startswith(home) for home in homes):
            broken.append(f"{relative} imports {name}: it belongs in {sorted(homes)}")
    return broken


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path: Path):
    assert broken_rules(path) == []


@pytest.mark.parametrize(
    ("file", "source", "why"),
    [
        ("forecaster/features.py", "from forecaster.learner import x", "not a lower layer"),
        ("forecaster/sources/yahoo.py", "from forecaster.store import Store", "not a lower layer"),
        ("backbones/model.py", "from .presets import LLAMA", "not a lower layer"),
        ("backbones/model.py", "import forecaster.bars", "another package"),
        ("forecaster/tokens.py", "import torch.nn", "it belongs in"),
        ("forecaster/backtest.py", "from backbones.model import Backbone", "it belongs in"),
        ("backbones/text/corpora.py", "import pandas as pd", "it belongs in"),
        ("backbones/commands/benching.py", "import click", "it belongs in"),
    ],
)
def test_a_planted_import_is_caught(file: str, source: str, why: str):
    assert [why in line for line in broken_rules(ROOT / file, source)] == [True]


def test_a_reader_of_a_store_does_not_wait_for_calendars():
    """They and pandas are more than half of the time that it would take."""
    code = "import sys, forecaster.store; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    heavy = {"exchange_calendars", "pandas", "torch", "sklearn", "scipy"}
    assert heavy & set(loaded.stdout.decode().split()) == set()


@pytest.mark.parametrize("package", sorted(LAYERS))
def test_every_module_has_a_layer(package: str):
    root = ROOT / package
    here = {p.relative_to(root).parts[0].removesuffix(".py") for p in root.rglob("*.py")}
    assert here - {"__init__", "__main__"} == set().union(*LAYERS[package])


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_are_short_enough_to_read(path: Path):
    text = path.read_text()
    assert text.count("\n") <= 200
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 50, node.name

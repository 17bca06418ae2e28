"""What a shell may complete besides commands and options: runs, presets, recipes."""

import json
from pathlib import Path

RUNS = Path("runs")


def runs() -> list[str]:
    """Runs on a text, where runs lie unless --out says otherwise; newest first.

    Another program's runs may lie beside them: those say their kind.
    """
    found = sorted(RUNS.glob("*/status.json"), reverse=True)
    return [str(each.parent) for each in found if "kind" not in json.loads(each.read_text())]


def presets() -> list[str]:
    """As `backbones list` has them."""
    from ..presets import PRESETS

    return list(PRESETS)


def recipes() -> list[str]:
    """Of `train` and `compare`."""
    from ..text.recipes import RECIPES

    return list(RECIPES)

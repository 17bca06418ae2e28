"""Names and shapes of the presets' parameters: a change of architecture shows up as a changed file.

To accept one: `python tests/backbones/test_backbone_golden.py`.
"""

from pathlib import Path

import pytest

from backbones.model import LanguageModel
from backbones.presets import PRESETS, Sizes, sized

GOLDEN = Path(__file__).parent / "golden"
SIZES = Sizes(vocab_size=65, context=64, d_model=128, n_layers=2, n_heads=4)


def described(name: str) -> str:
    model = LanguageModel(sized(PRESETS[name], SIZES))
    return "".join(f"{n} {list(p.shape)}\n" for n, p in model.named_parameters())


@pytest.mark.parametrize("name", PRESETS)
def test_parameters_are_named_and_shaped_as_before(name: str) -> None:
    assert described(name) == (GOLDEN / f"{name}.txt").read_text()


def test_no_golden_file_is_of_a_preset_that_is_gone() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(PRESETS)


if __name__ == "__main__":
    for each in PRESETS:
        (GOLDEN / f"{each}.txt").write_text(described(each))

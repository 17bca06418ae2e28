"""Who runs the race to a loss on tinyshakespeare."""

from typing import Any

from ..language.plan import changed, plan_run
from ..text.corpora import Corpus
from .race import Arm

NANOGPT: dict[str, Any] = {
    "backbone.bias": False,
    "backbone.init_std": 0.02,
    "train.lr": 1e-3,
    "train.min_lr": 1e-4,
    "train.warmup": 100,
    "train.groups": [{"prefix": "backbone.entry.", "weight_decay": 0.1}],
}
"""What nanoGPT's CPU example has otherwise than preset classic under recipe cpu (its README, and
config/train_shakespeare_char.py)."""


def arms(corpus: Corpus) -> list[Arm]:
    """nanoGPT's model and recipe; its model under ours; a model and a schedule made for the race.

    nanoGPT's recipe ends above the bar, so its time is that of all its steps.
    """
    nanogpt = changed(plan_run(corpus, "classic", "cpu"), NANOGPT)
    tuned = changed(plan_run(corpus, "classic", "cpu"), {"backbone.bias": False})
    fast = changed(plan_run(corpus, "llama_qk_norm", "cpu-muon"), {"train.steps": 400})
    return [
        Arm(name="nanoGPT's recipe", plan=nanogpt),
        Arm(name="its shape, recipe cpu", plan=tuned, looks=50),
        Arm(name="fast", plan=fast),
    ]

"""Who runs the race to a loss on tinyshakespeare."""

from ..language.plan import changed, plan_run
from ..text.corpora import Corpus
from .race import Arm


def arms(corpus: Corpus) -> list[Arm]:
    """nanoGPT's model and recipe; its model under ours; a model and a schedule made for the race.

    nanoGPT's recipe ends above the bar, so its time is that of all its steps.
    """
    shape = changed(plan_run(corpus, "classic", "cpu"), {"backbone.bias": False})
    return [
        Arm(name="nanoGPT's recipe", plan=plan_run(corpus, "classic", "nanogpt")),
        Arm(name="its shape, recipe cpu", plan=shape, looks=100),
        Arm(name="fast", plan=plan_run(corpus, "llama_conv_relu2", "fast")),
    ]

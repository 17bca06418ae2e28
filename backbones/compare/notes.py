"""What a reader must know beside the numbers: how they were made, and what they do not show."""

from collections.abc import Sequence

from .arms import SCORES, TUNED_FOR
from .study import Study
from .summary import ArmSummary


def how_made(study: Study, arms: Sequence[ArmSummary]) -> list[str]:
    """The caption, a sentence a fact."""
    said = [tokens_said(arms), parameters_said(study, arms), scores_said(arms), rates_said(study)]
    said.append(
        f"best on the way: the lowest of {SCORES} scores, which is optimistic; over-fit: final "
        "score less the score on as long a stretch of the text trained on."
    )
    if losses_differ(arms):
        said.append(
            "Nats are by each arm's own loss; softmax nats: by a softmax of its logits at one "
            "temperature, fitted on text trained on."
        )
    said.append("Times are of this machine, whatever else it did: trust ratios before seconds.")
    return said


def tokens_said(arms: Sequence[ArmSummary]) -> str:
    """Whether every run had the same number of tokens."""
    counts = sorted({arm.tokens for arm in arms})
    if len(counts) == 1:
        return f"Each run trains on {counts[0]:,} tokens."
    return f"TOKENS DIFFER, from {counts[0]:,} to {counts[-1]:,} a run."


def parameters_said(study: Study, arms: Sequence[ArmSummary]) -> str:
    """Whether arms have the same number of parameters."""
    gap = max(abs(arm.parameter_gap) for arm in arms)
    if study.parity:
        return f"d_ffn is solved for equal parameters: gaps are at most {100 * gap:.2f} %."
    return f"PARAMETERS DIFFER, by up to {100 * gap:.2f} %: every arm is as its preset has it."


def scores_said(arms: Sequence[ArmSummary]) -> str:
    """What the scores and intervals are of."""
    n = arms[0].nats.n
    if n == 1:
        return "Nats a character at the end. ONE SEED: no intervals, and nothing is decided."
    return (
        f"Nats a character at the end: mean of {n} seeds +- half the 95 % t-interval; difference "
        f"to {arms[0].name}: paired by seed, at 5 % each, uncorrected for {len(arms) - 1} of them."
    )


def rates_said(study: Study) -> str:
    """How each arm came to its learning rate."""
    if not study.is_tuned:
        return f"Rate: {study.rates[0]:g} of the recipe's for every arm, NOT TUNED."
    steps = f"1/{TUNED_FOR} of the" if study.tune_steps is None else f"{study.tune_steps}"
    tried = ", ".join(f"{rate:g}" for rate in study.rates)
    again = ", the best again by all of them, and on" if study.finalists > 1 else ""
    return (
        f"Rate: the best of {tried} of the recipe's by {steps} steps{again}, seed 0, scored on the "
        "last tenth of the training part; * at the edge of these: a better one may lie beyond."
    )


def not_shown(study: Study, arms: Sequence[ArmSummary]) -> list[str]:
    """What cannot be concluded."""
    said = [
        f"Anything about other texts, sizes or budgets: this is {study.corpus} at about "
        f"{arms[0].parameters:,} parameters and {arms[0].tokens:,} tokens.",
        "That an arm marked not decided equals the reference: differences smaller than its "
        "interval are invisible here.",
        "That arms are at their best: besides the learning rate nothing was tuned, and the recipe "
        "may suit some of them better than others.",
    ]
    if arms[0].nats.n > 1:
        said.append(
            "That the order of arms holds beyond these seeds where their intervals overlap; seeds "
            "vary weights and batches, the text and its split stay the same."
        )
    else:
        said.append("That any arm is better than another: one seed has no spread.")
    edge = [arm.name for arm in arms if arm.at_edge]
    if edge:
        said.append(f"That the rate suits {', '.join(edge)}: the best tried is at the edge.")
    return said


def losses_differ(arms: Sequence[ArmSummary]) -> bool:
    """Whether nats of arms are by different links."""
    return len({arm.loss for arm in arms}) > 1

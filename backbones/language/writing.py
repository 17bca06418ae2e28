"""Write on from a prompt with a run, a piece at a time."""

from collections.abc import Iterator

import torch

from ..errors import UsageError
from ..generate import Sampling, stream
from ..train import computing, device_of
from .run import LanguageRun

UNKNOWN = "\ufffd"  # what bytes read as that are no character, or none yet


def sample_text(run: LanguageRun, prompt: str, count: int, sampling: Sampling) -> str:
    """The prompt and `count` tokens more: the pieces of `written` in one."""
    return "".join(written(run, prompt, count, sampling))


def written(run: LanguageRun, prompt: str, count: int, sampling: Sampling) -> Iterator[str]:
    """The prompt, then what `count` tokens more add to it, a piece as soon as it is known.

    Looks back on at most the context of training. A piece is whole characters: bytes of one that
    is not over wait for the rest of it.
    """
    if not prompt:
        raise UsageError("--prompt is empty: a character is wanted")
    context = run.plan.context
    if sampling.window is None:
        sampling = sampling.replace(window=context)
    elif sampling.window > context:
        raise UsageError(f"window={sampling.window} is above {context}, the context of training")
    ids = run.tokenizer.encode(prompt).unsqueeze(0)
    sampling = sampling.replace(link=run.plan.loss)
    with computing(run.plan.train.precision, device_of(run.model)):
        yield run.tokenizer.decode(ids[0])
        waiting, said = ids[0, :0], ""
        for new in stream(run.model, ids, count, sampling):
            waiting = torch.cat((waiting, new[0]))
            text = run.tokenizer.decode(waiting)
            whole = text.rstrip(UNKNOWN)
            yield whole.removeprefix(said)
            waiting, said = (waiting[:0], "") if whole == text else (waiting, whole)
        yield run.tokenizer.decode(waiting).removeprefix(said)

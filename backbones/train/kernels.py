"""Which kernel each call for attention ends in: seen, not guessed, for torch chooses a call."""

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ..attention.short import Read

KERNELS = {
    "aten::_scaled_dot_product_flash_attention": "flash",
    "aten::_scaled_dot_product_flash_attention_for_cpu": "flash",
    "aten::_scaled_dot_product_efficient_attention": "memory-efficient",
    "aten::_scaled_dot_product_cudnn_attention": "cudnn",
    "aten::_scaled_dot_product_fused_attention_overrideable": "fused",
}
UNFUSED = "unfused"  # the products written out: T x S numbers are kept


class Kernels(TorchDispatchMode):
    """Counts the kernels that are called inside."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """As it would be."""
        if func.name() in KERNELS:
            self.found[KERNELS[func.name()]] += 1
        return func(*args, **(kwargs or {}))


class Calls(TorchFunctionMode):
    """Keeps why flash would not do, for each call for attention inside that ends in no kernel."""

    def __init__(self, kernels: Kernels) -> None:
        super().__init__()
        self.kernels = kernels
        self.reasons: list[str] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """As it would be."""
        before = self.kernels.found.total()
        out = func(*args, **(kwargs or {}))
        if func is F.scaled_dot_product_attention and self.kernels.found.total() == before:
            self.kernels.found[UNFUSED] += 1
            self.reasons.append(why_not_flash(*args, **(kwargs or {})))
        return out


def attention_kernels(run: Callable[[], object]) -> str:
    """The kernels of the calls for attention in `run()`, in words, with the reason for a slow one.

    "flash", or "flash 2, unfused 1 (query and value differ in width, 8 and 16)"; "by hand" is
    `attention.short`, of which a tensor that `run` returns keeps the record.
    """
    with Kernels() as kernels, Calls(kernels) as calls:
        out = run()
    found = kernels.found
    if by_hand := read_by_hand(out):
        found["by hand"] = by_hand
    if not found:
        return "none"
    names = list(found) if len(found) == 1 else [f"{name} {found[name]}" for name in found]
    reasons = f" ({'; '.join(dict.fromkeys(calls.reasons))})" if calls.reasons else ""
    return f"{', '.join(names)}{reasons}"


def read_by_hand(out: object) -> int:
    """How many maps' reads with a derivative by hand a result comes from."""
    left = [out.grad_fn] if isinstance(out, Tensor) else []
    seen = set(left)
    while left:
        node = left.pop()
        for following, _ in node.next_functions if node is not None else ():
            if following is not None and following not in seen:
                seen.add(following)
                left.append(following)
    return sum(node is not None and node.name() == f"{Read.__name__}Backward" for node in seen)


def why_not_flash(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **_: object,
) -> str:
    """What torch says of such a call where it says it, on CUDA; elsewhere what is odd about it."""
    if q.device.type == "cuda":
        params = torch.backends.cuda.SDPAParams(q, k, v, attn_mask, dropout_p, is_causal, False)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            torch.backends.cuda.can_use_flash_attention(params, debug=True)
        said = [str(warning.message).split(" (Triggered")[0] for warning in told]
        return " ".join(" ".join(said).split()) or "torch does not say why"
    if q.shape[-1] != v.shape[-1]:
        return f"query and value differ in width, {q.shape[-1]} and {v.shape[-1]}"
    if dropout_p:
        return f"dropout {dropout_p} on the map"
    return f"torch does not say why: queries are {list(q.shape)} {q.dtype}"

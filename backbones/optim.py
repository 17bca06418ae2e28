"""Which parameters learn how: groups by role, AdamW, and the learning rate of each step."""

import math
from dataclasses import dataclass
from typing import Literal

from torch import nn
from torch.optim import AdamW

from .embedding import Head
from .recipe import GroupRule, TrainRecipe

Role = Literal["matrix", "table", "vector"]
# The rule of all that no rule of the recipe fits; no parameter's name has a star.
ORDINARY = GroupRule(prefix="*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Parameters that share a learning rate and a weight decay, by name."""

    role: Role
    lr_factor: float
    weight_decay: float
    parameters: dict[str, nn.Parameter]


def parameter_groups(model: nn.Module, recipe: TrainRecipe) -> list[Group]:
    """Every trainable parameter in exactly one group; ValueError for a prefix that fits none.

    Matrices decay. Tables (embeddings, learned positions, an untied head) and vectors (gains,
    biases) do not, unless a rule of the recipe says so. Of several prefixes that fit, the longest
    counts.
    """
    roles = parameter_roles(model)
    groups: dict[tuple[Role, str], Group] = {}
    unused = {rule.prefix for rule in recipe.groups}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        rule = rule_of(name, recipe)
        unused.discard(rule.prefix)
        key = roles[name], rule.prefix
        if key not in groups:
            groups[key] = empty_group(roles[name], rule, recipe)
        groups[key].parameters[name] = parameter
    if unused:
        raise ValueError(f"groups: no parameter's name starts with {min(unused)!r}")
    return list(groups.values())


def parameter_roles(model: nn.Module) -> dict[str, Role]:
    """What each parameter is, by the module that owns it and by its number of axes."""
    tables = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, nn.Embedding | Head)
        for parameter in module.parameters(recurse=False)
    }
    return {
        name: "table" if id(parameter) in tables else "matrix" if parameter.ndim > 1 else "vector"
        for name, parameter in model.named_parameters()
    }


def rule_of(name: str, recipe: TrainRecipe) -> GroupRule:
    """The recipe's rule with the longest prefix that fits, or a rule that changes nothing."""
    fitting = [rule for rule in recipe.groups if name.startswith(rule.prefix)]
    return max(fitting, key=lambda rule: len(rule.prefix), default=ORDINARY)


def empty_group(role: Role, rule: GroupRule, recipe: TrainRecipe) -> Group:
    """The group of one role under one rule, with no parameters yet."""
    decay = recipe.weight_decay if role == "matrix" else 0.0
    if rule.weight_decay is not None:
        decay = rule.weight_decay
    return Group(role=role, lr_factor=rule.lr_factor, weight_decay=decay, parameters={})


def build_adamw(model: nn.Module, recipe: TrainRecipe) -> AdamW:
    """AdamW (Loshchilov and Hutter 2019) over the groups, fused: one pass over each tensor."""
    groups = [
        {
            "params": list(group.parameters.values()),
            "weight_decay": group.weight_decay,
            "lr_factor": group.lr_factor,
        }
        for group in parameter_groups(model, recipe)
    ]
    return AdamW(groups, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps, fused=True)


def learning_rate(step: int, recipe: TrainRecipe) -> float:
    """Linear warm-up to lr, then half a cosine towards min_lr; steps count from 0.

    Source: Loshchilov and Hutter 2017, eq. 5, one cycle.
    """
    if step < recipe.warmup:
        return recipe.lr * (step + 1) / recipe.warmup
    progress = (step - recipe.warmup) / (recipe.steps - recipe.warmup)
    return recipe.min_lr + (recipe.lr - recipe.min_lr) * (1 + math.cos(math.pi * progress)) / 2


def set_learning_rate(optimizer: AdamW, lr: float) -> None:
    """Give each group lr times its own factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]

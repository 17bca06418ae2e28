"""Every initial value, in one table with its source.

Gains start at 1, biases and the weights of short convolutions at 0. All matrices are drawn from
N(0, std^2).

| what                              | std                  | source                                |
|-----------------------------------|----------------------|---------------------------------------|
| matrices that read the stream     | init_std (0.02)      | Radford et al. 2018, section 4.1      |
| matrices that write to the stream | init_std / sqrt(2 L) | Radford et al. 2019, section 2.3      |
| token table                       | init_std             | GPT-2's code, LLaMA's code            |
| token table, where it is scaled   | d_model^-0.5         | Vaswani et al. 2017: RMS 1 once scaled|
|   by sqrt(d_model)                |                      |                                       |
| position table                    | init_std             | nanoGPT (GPT-2's own code has 0.01)   |
| untied head                       | init_std             | LLaMA's code                          |
| all of them, on the sphere        | 1, then length one   | Loshchilov et al. 2024, section 2.6   |
|   position table, on the sphere   | d_model^-0.5         | ours: about a token's length          |

| learned scale                     | init | stored at  | source                                   |
|-----------------------------------|------|------------|------------------------------------------|
| alpha, of a branch                | 0.05 | d_model^-.5| nGPT's code, model.py                    |
| s_qk                              | 1    | d_model^-.5| the same                                 |
| s_u, s_v, s and b of DIFF's gate  | 1 (0)| 1          | the same; the gate's are ours            |
| s_z                               | 1    | d_model^-.5| the same                                 |
| DIFF's lambda vectors             | N(0, 0.1^2) | 1   | Ye et al. 2024, code; on the sphere they |
|                                   |      |            | are stored at d_model^-.5 (ours)         |
"""

from dataclasses import dataclass

from .config import BackboneConfig

BRANCH_PACE = 0.05  # alpha: the share of the way to a branch's direction
LAMBDA_STD = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class InitialStd:
    """Standard deviations of the matrices before the first step, by what the matrix is for."""

    reader: float
    writer: float
    tokens: float
    positions: float
    head: float


def initial_std(config: BackboneConfig) -> InitialStd:
    """The table above, for one config."""
    if config.on_sphere:
        return InitialStd(reader=1.0, writer=1.0, tokens=1.0, positions=stored_at(config), head=1.0)
    std = config.init_std
    scaled_up = config.embedding_scale == "sqrt_d"
    return InitialStd(
        reader=std,
        writer=std / (2 * config.n_layers) ** 0.5,
        tokens=config.d_model**-0.5 if scaled_up else std,
        positions=std,
        head=std,
    )


def stored_at(config: BackboneConfig) -> float:
    """What a learned scale of one is stored at, so that Adam moves it at nGPT's pace."""
    return config.d_model**-0.5

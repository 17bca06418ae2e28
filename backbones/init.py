"""Every initial value, in one table with its source; gains start at 1 and biases at 0.

All matrices are drawn from N(0, std^2).

| what                              | std                  | source                                |
|-----------------------------------|----------------------|---------------------------------------|
| matrices that read the stream     | init_std (0.02)      | Radford et al. 2018, section 4.1      |
| matrices that write to the stream | init_std / sqrt(2 L) | Radford et al. 2019, section 2.3      |
| token table                       | init_std             | GPT-2's code, LLaMA's code            |
| token table, where it is scaled   | d_model^-0.5         | Vaswani et al. 2017: RMS 1 once scaled|
|   by sqrt(d_model)                |                      |                                       |
| position table                    | init_std             | nanoGPT (GPT-2's own code has 0.01)   |
| untied head                       | init_std             | LLaMA's code                          |
"""

from dataclasses import dataclass

from .config import BackboneConfig


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
    std = config.init_std
    scaled_up = config.embedding_scale == "sqrt_d"
    return InitialStd(
        reader=std,
        writer=std / (2 * config.n_layers) ** 0.5,
        tokens=config.d_model**-0.5 if scaled_up else std,
        positions=std,
        head=std,
    )

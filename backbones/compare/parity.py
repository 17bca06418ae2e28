"""Equal parameters: the FFN width at which a config has as many numbers as another."""

from ..config import BackboneConfig
from ..errors import UsageError
from ..model import parameters_of

STEP = 2  # widths are even: fused kernels read pairs


def at_parity(config: BackboneConfig, parameters: int) -> BackboneConfig:
    """The config at the even d_ffn whose count is nearest to `parameters`.

    Each unit of d_ffn adds the same count, so two counts give the width, and what is left of the
    difference is at most half of what two units add. UsageError where d_ffn = 2 has more already.
    """
    least = parameters_of(config.replace(d_ffn=STEP))
    a_step = parameters_of(config.replace(d_ffn=2 * STEP)) - least
    steps = 1 + round((parameters - least) / a_step)
    if steps < 1:
        raise UsageError(
            f"{parameters} parameters are fewer than the {least} that are there with d_ffn={STEP}: "
            "name a larger --parameters, or --as-is"
        )
    return config.replace(d_ffn=STEP * steps)

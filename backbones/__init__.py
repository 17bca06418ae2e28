"""Decoder-only transformers as one model and one frozen configuration.

Import from the modules (`backbones.config`, `backbones.model`, ...): this file imports nothing, so
that `backbones --help` does not wait for torch.
"""

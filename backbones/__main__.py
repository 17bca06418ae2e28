"""`python -m backbones`, which is how torchrun starts the command line."""

from .cli import main

main(prog_name="backbones")

"""Examples at the end of each command's help, by its full name. A test parses every one of them."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "backbones": (
        "backbones list",
        "backbones train --corpus tinyshakespeare --preset llama --out runs/text",
        'backbones sample runs/text --prompt "ROMEO:"',
    ),
    "backbones list": ("backbones list --json",),
    "backbones train": (
        "backbones train --corpus tinyshakespeare --preset dint_ngpt --out runs/text",
        "backbones train --corpus my.txt --tokenizer bpe --vocab-size 512 --dry-run",
        "backbones train --resume runs/text",
    ),
    "backbones eval": ("backbones eval runs/text --json",),
    "backbones sample": (
        'backbones sample runs/text --prompt "ROMEO:" --temperature 0.8 --seed 1',
    ),
    "backbones attention": (
        'backbones attention runs/text --prompt "To be, or not to be"',
        'backbones attention runs/text --prompt "ROMEO:" --out romeo.html --json',
    ),
    "backbones compare": (
        "backbones compare --presets llama,diff_v1,dint_v1 --seeds 5 --jobs 2",
        "backbones compare --presets llama --vary qk_norm=none,rms --dry-run",
    ),
    "backbones bench": ("backbones bench --list", "backbones bench ffn --rounds 5"),
}

"""Examples at the end of each command's help, by its full name. A test parses every one of them."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "forecaster": (
        "forecaster backtest --quick",
        "forecaster runs ls",
        "forecaster fetch AAPL ^GSPC --source yahoo --start 2015-01-01",
    ),
    "forecaster fetch": (
        "forecaster fetch",
        "forecaster fetch AAPL ^GSPC --source yahoo --start 2015-01-01",
        "forecaster fetch MINE --source csv --path bars.csv",
    ),
    "forecaster backtest": (
        "forecaster backtest --quick",
        "forecaster backtest --symbols AAPL,IBM --horizons 1,5 --out runs/mine",
        "forecaster backtest --preset llama --set learner.steps=300 --dry-run",
        "forecaster backtest --resume runs/mine",
    ),
    "forecaster train": (
        "forecaster train --preset llama --until 2011-12-31 --out runs/llama",
        "forecaster train --resume runs/llama",
    ),
    "forecaster predict": (
        "forecaster predict runs/llama --horizons 1,5 --out next.parquet",
        "forecaster predict runs/llama --paths 20 --out paths/next.parquet",
    ),
    "forecaster paths": ("forecaster paths runs/llama --paths 20 --until 2013-12-31",),
    "forecaster audit": (
        "forecaster audit runs/mine --examples 10",
        "forecaster audit theirs.parquet --symbols AAPL,IBM",
    ),
    "forecaster strategy": ("forecaster strategy runs/mine --cost-bp 0,10",),
    "forecaster report": ("forecaster report runs/mine --out page.html",),
    "forecaster explore": (
        "forecaster explore runs/mine",
        "forecaster explore runs/mine --against runs/other --learner runs/llama",
    ),
    "forecaster ledger": ("forecaster ledger --json",),
    "forecaster bench": (
        "forecaster bench fits scoring --rounds 9 --out bench.parquet",
        "forecaster bench scaling --symbols 5 --page scaling.html",
    ),
    "forecaster store": ("forecaster store ls",),
    "forecaster store ls": ("forecaster store ls --json",),
    "forecaster store verify": ("forecaster store verify --store data",),
    "forecaster store repair": ("forecaster store repair",),
    "forecaster runs": ("forecaster runs ls",),
    "forecaster runs ls": ("forecaster runs ls --json",),
    "forecaster runs show": ("forecaster runs show runs/mine --details",),
    "forecaster runs compare": ("forecaster runs compare runs/mine runs/other",),
    "forecaster runs rm": ("forecaster runs rm runs/mine", "forecaster runs rm runs/mine --yes"),
    "forecaster config": ("forecaster config show",),
    "forecaster config show": (
        "forecaster config show --quick --set learner.steps=50",
        "forecaster config show --config mine.toml",
    ),
    "forecaster doctor": ("forecaster doctor", "forecaster doctor --json"),
    "forecaster completion": (
        'eval "$(forecaster completion bash)"',
        "forecaster completion fish > ~/.config/fish/completions/forecaster.fish",
    ),
}

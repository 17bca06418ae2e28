"""The command line: each command reads its options, calls the library, and shows the answer.

Results go to stdout (`--json`: one object), all else to stderr. Heavy imports are in the commands.
"""

import json
from pathlib import Path
from typing import Any

import click

from .commands import bars, shared
from .commands.shared import PRESET, RECIPE, RUN, answer, reported, tell

AXES = ("positions", "norm", "ffn", "qk_norm", "n_heads", "n_kv_heads", "bias", "tie_embeddings")
FOLDER = click.Path(path_type=Path)

as_json = click.option("--json", "json_", is_flag=True, help="One JSON object on stdout.")
data_folder = click.option(
    "--data", type=FOLDER, default=Path("data/text"), show_default=True, help="Downloaded corpora."
)
corpus_path = click.option("--path", type=FOLDER, help="Where your copy of wikitext-2 is.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
@click.option("-v", "--verbose", is_flag=True, help="A line for each step on stderr.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.pass_context
def main(context: click.Context, quiet: bool, verbose: bool, debug: bool) -> None:
    """Decoder-only transformers whose variants are configurations."""
    context.obj = {"quiet": quiet, "verbose": verbose, "debug": debug}


@main.command("list")
@as_json
@reported
def list_presets(json_: bool) -> None:
    """Show the presets: their axes, and their parameters at the sizes of recipe cpu."""
    from .language import preset_table

    rows = preset_table()
    if json_:
        click.echo(json.dumps(rows))
        return
    for name, row in rows.items():
        axes = " ".join(f"{axis}={row[axis]}" for axis in AXES)
        click.echo(f"{name:<14} {row['parameters']:>9,} parameters  {axes}")


@main.command()
@click.option(
    "--corpus", help="tinyshakespeare, shakespeare-rest, wikitext-2, or the path of a text file."
)
@corpus_path
@click.option("--preset", help="See `backbones list`.  [default: llama]", **PRESET)
@click.option("--recipe", help="cpu, cpu-muon or smoke.  [default: cpu]", **RECIPE)
@click.option("--tokenizer", type=click.Choice(["char", "byte", "bpe"]), help="[default: char]")
@click.option("--vocab-size", type=click.IntRange(min=1), help="Of a bpe.  [default: 1024]")
@click.option("--seed", type=click.IntRange(min=0), help="Of weights, batches and dropout.")
@click.option("--steps", type=click.IntRange(min=1), help="Instead of the recipe's.")
@click.option("--accumulate", type=click.IntRange(min=1), help="Parts of a batch, one at a time.")
@click.option("--set", "changes", multiple=True, metavar="FIELD=VALUE", help="E.g. train.lr=1e-3.")
@click.option("--strategy", type=click.Choice(["single", "ddp", "fsdp"]), help="Under torchrun.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--compile", "compiled", is_flag=True, help="By torch.compile, which warms up.")
@click.option("--out", type=FOLDER, help="A folder that does not exist yet.")
@click.option("--resume", help="A run to go on with.", **RUN)
@click.option("--dry-run", is_flag=True, help="Show the plan; train nothing.")
@data_folder
@as_json
@reported
def train(json_: bool, **options: Any) -> None:
    """Train a language model on a text."""
    from .commands.training import train_here

    if found := train_here(options, tell, bars.progress):
        answer(found, json_=json_)


@main.command()
@click.option("--presets", metavar="A,B,...", help="Of `backbones list`; A: reference.", **PRESET)
@click.option("--vary", multiple=True, metavar="FIELD=V1,V2,...", help="Crossed with the presets.")
@click.option("--seeds", type=int, help="Runs an arm, seeds 1 to this.  [default: 3]")
@click.option("--corpus", help="As of train.  [default: tinyshakespeare]")
@corpus_path
@click.option("--recipe", help="cpu, cpu-muon or smoke.  [default: cpu]", **RECIPE)
@click.option("--tokenizer", type=click.Choice(["char", "byte", "bpe"]), help="[default: char]")
@click.option("--vocab-size", type=int, help="Of a bpe.  [default: 1024]")
@click.option("--steps", type=int, help="Instead of the recipe's.")
@click.option("--set", "changes", multiple=True, metavar="FIELD=VALUE", help="In every arm.")
@click.option("--rates", metavar="X,Y,...", help="Of the recipe's, to try.  [default: 0.5,1,2,4]")
@click.option("--tune-steps", type=int, help="Of a try.  [default: a quarter of the steps]")
@click.option(
    "--finalists", type=int, help="Rates tried again with all the steps; 1: none.  [default: 2]"
)
@click.option("--parameters", type=int, help="Of every arm.  [default: the reference's]")
@click.option("--as-is", is_flag=True, help="Widths as the presets have them, counts unequal.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes.")
@click.option("--out", type=FOLDER, help="A folder that does not exist yet.")
@click.option("--resume", type=FOLDER, help="A study to go on with.")
@click.option("--dry-run", is_flag=True, help="Show arms and runs; train nothing.")
@data_folder
@as_json
@reported
def compare(jobs: int, dry_run: bool, json_: bool, **options: Any) -> None:
    """Train presets side by side: equal parameters, equal tokens, tuned rates, several seeds."""
    from .commands import comparing

    request = comparing.StudyRequest(**options)
    if dry_run:
        answer(comparing.planned(request), json_=json_)
        return
    quiet = click.get_current_context().obj["quiet"]
    found = comparing.compare(request, jobs=jobs, quiet=quiet, tables=not json_)
    if json_:
        answer(found, json_=True)


@main.command()
@click.argument("run", **RUN)
@click.option("--prompt", default="\n", help="What to go on from.  [default: a new line]")
@click.option("--length", type=click.IntRange(min=1), default=500, show_default=True)
@click.option("--temperature", type=click.FloatRange(min=0), default=1.0, show_default=True)
@click.option("--top-k", type=click.IntRange(min=1), help="Draw among the k likeliest.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@as_json
@reported
def sample(run: Path, prompt: str, length: int, json_: bool, **how: Any) -> None:
    """Write on from a prompt, a token at a time."""
    from .generate import Sampling
    from .language import open_run, written

    pieces = written(open_run(run), prompt, length, Sampling(**how))
    if json_:
        click.echo(json.dumps({"run": str(run), "prompt": prompt, "text": "".join(pieces)}))
    else:
        shared.say(pieces)


@main.command()
@click.argument("run", **RUN)
@click.option("--prompt", required=True, help="What is looked at.")
@click.option("--out", type=FOLDER, help="The page; must not exist.  [default: in RUN]")
@as_json
@reported
def attention(run: Path, prompt: str, out: Path | None, json_: bool) -> None:
    """Draw the attention maps of a prompt: softmax, DIFF's difference, DINT's integral."""
    from .commands import attending

    found = attending.attend(run, prompt, out)
    answer(found if json_ else {"page": found["page"], "bytes": found["bytes"]}, json_=json_)


@main.command("eval")
@click.argument("run", **RUN)
@click.option("--corpus", help="Where the text of the run is now.  [default: where it was]")
@corpus_path
@data_folder
@as_json
@reported
def evaluate(run: Path, corpus: str | None, path: Path | None, data: Path, json_: bool) -> None:
    """Score a run on the whole validation part of its corpus, in nats a character."""
    from .language import open_run, score_run
    from .text.corpora import load_corpus

    opened = open_run(run)
    text = load_corpus(corpus or opened.plan.corpus, data, path=path)
    with bars.counting("scoring", "windows") as on_windows:
        found = score_run(opened, text, on_windows)
    answer(found, json_=json_)


@main.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--list", "list_", is_flag=True, help="Show the names; * those of the default.")
@click.option("--rounds", type=click.IntRange(min=1), default=15, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--out", type=FOLDER, help="A parquet file that does not exist yet.")
@data_folder
@as_json
@reported
def bench(list_: bool, json_: bool, **asked: Any) -> None:
    """Time two ways to write a thing against each other, after checking that they are equal."""
    from .commands import benching

    if list_:
        answer(benching.listed(), json_=json_)
        return
    request = benching.BenchRequest(**asked, tables=not json_)
    found = benching.bench(request, tell, lambda: bars.still("measuring", "rounds"))
    if json_:
        answer(found, json_=True)


shared.show_examples(main, "backbones")

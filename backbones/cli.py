"""The command line: each command reads its options, calls the library, and shows the answer.

Results go to stdout (`--json`: one object), all else to stderr. Exit codes are those of `errors`; a
traceback is shown only under --debug. Heavy imports are inside the commands.
"""

import functools
import json
import sys
import traceback
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import click

from .errors import BackbonesError, StorageError

if TYPE_CHECKING:
    from .train import StepReport

P = ParamSpec("P")
INTERRUPTED, TERMINATED = 130, 143  # 128 + the signal's number, as shells have it
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


def reported(command: Callable[P, None]) -> Callable[P, None]:
    """The command on one thread, its errors told in a line, with the exit code of their kind."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            be_reproducible()
            command(*args, **kwargs)
        except KeyboardInterrupt as stopped:  # an argument says by which other signal
            code = TERMINATED if stopped.args else INTERRUPTED
            stop(stopped, f"{str(stopped) or 'interrupted'}: go on with --resume", code)
        except BackbonesError as error:
            stop(error, str(error), error.exit_code)
        except OSError as error:
            stop(error, str(error), StorageError.exit_code)
        except Exception as error:  # whatever it is, it is ours: exit 1, never silence
            told = f"this is a bug, {type(error).__name__}: {error} (--debug shows where)"
            stop(error, told, BackbonesError.exit_code)

    return wrapped


def stop(error: BaseException, told: str, code: int) -> None:
    """Tell of an error on stderr and exit."""
    context = click.get_current_context()
    if context.obj["debug"]:
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    click.echo(f"error: {' '.join(told.split())}", err=True)
    context.exit(code)


def be_reproducible() -> None:
    """One thread (small models are slower on two, and sums round differently), fixed algorithms."""
    import torch

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


def answer(values: Mapping[str, Any], *, json_: bool) -> None:
    """One object on stdout, as JSON or as a line a field."""
    if json_:
        click.echo(json.dumps(values))
    else:
        for name, value in values.items():
            click.echo(f"{name:<18} {value}")


@contextmanager
def progress(steps: int) -> "Generator[Callable[[StepReport], None]]":
    """What to call after each step: a line under -v, else a bar on a terminal, else nothing."""
    asked = click.get_current_context().obj
    if asked["verbose"]:
        yield lambda r: click.echo(
            f"step {r.step}/{steps} loss {r.loss:.4f} lr {r.lr:.2e} norm {r.grad_norm:.2f} "
            f"{1000 * r.seconds:.0f} ms",
            err=True,
        )
        return
    from rich.console import Console
    from rich.progress import Progress

    hidden = asked["quiet"] or not sys.stderr.isatty()
    with Progress(console=Console(stderr=True), disable=hidden) as bar:
        task = bar.add_task("training", total=steps)
        yield lambda r: bar.update(task, completed=r.step, description=f"loss {r.loss:.3f}")


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
@click.option("--preset", help="See `backbones list`.  [default: llama]")
@click.option("--recipe", help="cpu, cpu-muon or smoke.  [default: cpu]")
@click.option("--tokenizer", type=click.Choice(["char", "byte", "bpe"]), help="[default: char]")
@click.option("--vocab-size", type=click.IntRange(min=1), help="Of a bpe.  [default: 1024]")
@click.option("--seed", type=click.IntRange(min=0), help="Of weights, batches and dropout.")
@click.option("--steps", type=click.IntRange(min=1), help="Instead of the recipe's.")
@click.option("--set", "changes", multiple=True, metavar="FIELD=VALUE", help="E.g. train.lr=1e-3.")
@click.option("--out", type=FOLDER, help="A folder that does not exist yet.")
@click.option("--resume", type=FOLDER, help="A run to go on with.")
@click.option("--dry-run", is_flag=True, help="Show the plan; train nothing.")
@data_folder
@as_json
@reported
def train(dry_run: bool, json_: bool, **options: Any) -> None:
    """Train a language model on a text."""
    from .language import TrainRequest, prepare, train_run

    ready = prepare(TrainRequest(**options))
    if dry_run:
        answer({"run": str(ready.folder)} | ready.plan.model_dump(mode="json"), json_=json_)
        return
    with progress(ready.plan.train.steps) as on_step:
        summary = train_run(
            ready.corpus, ready.plan, ready.folder, resume=ready.resume, on_step=on_step
        )
    answer(summary, json_=json_)


@main.command()
@click.argument("run", type=FOLDER)
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
    from .language import open_run, sample_text

    text = sample_text(open_run(run), prompt, length, Sampling(**how))
    click.echo(json.dumps({"run": str(run), "prompt": prompt, "text": text}) if json_ else text)


@main.command("eval")
@click.argument("run", type=FOLDER)
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
    answer(score_run(opened, text), json_=json_)

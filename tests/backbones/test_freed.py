"""Memory that is freed stays with the process: no page is asked for twice."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from backbones import cli
from backbones.freed import keep_freed_memory

STEPS = """
import resource, sys
import torch
from torch.nn import functional as F
from backbones.freed import keep_freed_memory
from backbones.model import LanguageModel
from backbones.presets import PRESETS, Sizes, sized

if sys.argv[1] == "kept" and not keep_freed_memory():
    sys.exit("this C library cannot be asked")
torch.set_num_threads(1)
sizes = Sizes(vocab_size=65, context=64, d_model=128, n_layers=4, n_heads=4)
model, ids = LanguageModel(sized(PRESETS["llama"], sizes)), torch.ones(12, 64, dtype=torch.int64)

def step():
    F.cross_entropy(model(ids).flatten(0, 1), ids.flatten()).backward()
    model.zero_grad()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

counts = [step() for _ in range(15)]
print(counts[-1] - counts[4])
"""


def faults(how: str) -> int:
    line = [sys.executable, "-c", STEPS, how]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator is asked")
def test_a_step_asks_for_no_page_that_the_last_one_had() -> None:
    given_back, kept = faults("given back"), faults("kept")
    assert given_back > 1_000  # else there is nothing to gain, and the module can go
    assert kept < 0.05 * given_back


def test_the_command_line_asks_for_it() -> None:
    keep_freed_memory.cache_clear()
    assert CliRunner().invoke(cli.main, ["list", "--json"]).exit_code == 0
    assert keep_freed_memory.cache_info().currsize == 1

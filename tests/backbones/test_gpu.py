"""Each variant's fused attention against the products written out in float32; and on CUDA the rest.

What runs on any device runs here on the CPU too; the tests marked `gpu` want a CUDA device.
"""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.nn.attention import SDPBackend, sdpa_kernel
from variants import SMALL_PRESETS, VARIANTS

from backbones.by_hand import plainly
from backbones.config import BackboneConfig
from backbones.losses import cross_entropy
from backbones.model import LanguageModel
from backbones.recipe import Precision
from backbones.train import computing
from backbones.train.kernels import attention_kernels

ROOT = Path(__file__).parents[2]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
CLOSE: dict[Precision, float] = {"fp32": 1e-4, "bf16-mixed": 6e-2}  # of a value near one
PLAIN = {name: config.replace(dropout=0.0) for name, config in VARIANTS.items()}


def outputs(
    config: BackboneConfig, device: str, precision: Precision, *, fused: bool
) -> tuple[Tensor, Tensor]:
    """Logits, and all gradients in one row, in float32 on the CPU; `fused`: as training has it."""
    torch.manual_seed(5)
    model = LanguageModel(config).to(device)
    ids = torch.randint(11, (4, 10)).to(device)
    with ExitStack() as how:
        how.enter_context(computing(precision, torch.device(device)))
        if not fused:
            how.enter_context(plainly())
            how.enter_context(sdpa_kernel([SDPBackend.MATH]))
        logits = model(ids[:, :-1])
    cross_entropy(logits, ids[:, 1:]).backward()
    gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return logits.detach().float().cpu(), torch.cat(gradients).float().cpu()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", CLOSE)
@pytest.mark.parametrize("config", PLAIN.values(), ids=PLAIN.keys())
def test_fused_attention_is_that_of_products_written_out_in_float32(
    config: BackboneConfig, precision: Precision, device: str
) -> None:
    logits, gradients = outputs(config, device, precision, fused=True)
    wanted, slopes = outputs(config, device, "fp32", fused=False)
    for found, written in ((logits, wanted), (gradients, slopes)):
        largest = max(1.0, written.abs().max().item())
        assert (found - written).abs().max().item() < CLOSE[precision] * largest


def test_planted_a_causal_mask_that_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    attend = F.scaled_dot_product_attention
    wanted, _ = outputs(PLAIN["llama"], "cpu", "fp32", fused=False)
    monkeypatch.setattr(
        F,
        "scaled_dot_product_attention",
        lambda q, k, v, **how: attend(q, k, v, scale=how["scale"]),
    )
    logits, _ = outputs(PLAIN["llama"], "cpu", "bf16-mixed", fused=True)
    assert (logits - wanted).abs().max().item() > CLOSE["bf16-mixed"]


# which kernel


def test_the_kernel_is_named_and_so_is_why_it_is_none() -> None:
    q, wide = torch.randn(1, 2, 8, 8), torch.randn(1, 2, 8, 16)

    def calls() -> None:
        F.scaled_dot_product_attention(q, q, q, is_causal=True)
        F.scaled_dot_product_attention(q, q, wide, is_causal=True)
        F.scaled_dot_product_attention(q, q, q, dropout_p=0.5)

    why = "query and value differ in width, 8 and 16; dropout 0.5 on the map"
    assert attention_kernels(calls) == f"flash 1, unfused 2 ({why})"
    assert attention_kernels(lambda: None) == "none"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", SMALL_PRESETS)
def test_every_preset_attends_by_a_fused_kernel_in_bfloat16(name: str, device: str) -> None:
    model = LanguageModel(SMALL_PRESETS[name]).to(device)
    ids = torch.randint(11, (2, 8)).to(device)
    with computing("bf16-mixed", torch.device(device)):
        found = attention_kernels(lambda: model(ids))
    assert found in {"flash", "cudnn"}, found
    if device == "cpu":
        assert attention_kernels(lambda: model(ids)) == "by hand"
        with plainly():
            assert attention_kernels(lambda: model(ids)) == "flash"


# from the command line


def trained(folder: Path, how: list[str], *more: str) -> dict[str, object]:
    (folder / "verse.txt").write_text("The quality of mercy is not strain'd.\n" * 120)
    small = ["--corpus", "verse.txt", "--recipe", "smoke", "--steps", "6", "--json", *more]
    done = subprocess.run(
        [sys.executable, *how, "-m", "backbones", "train", *small],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout) | {"told": done.stderr}


@pytest.mark.gpu
@pytest.mark.parametrize("preset", ["llama", "diff_v2", "dint_v1", "ngpt", "mla"])
@pytest.mark.parametrize("how", [[], ["--compile"]], ids=["eager", "compiled"])
def test_cuda_trains_to_the_loss_of_the_cpu(tmp_path: Path, preset: str, how: list[str]) -> None:
    by_cpu = trained(tmp_path, [], "--preset", preset, "--out", "cpu")
    found = trained(tmp_path, [], "--preset", preset, "--out", "gpu", "--device", "cuda", *how)
    assert found["validation_nats"] == pytest.approx(by_cpu["validation_nats"], abs=5e-3)
    assert "cuda:0" in str(found["told"])


@pytest.mark.gpu
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_nccl_trains_to_the_loss_of_the_cpu(tmp_path: Path, strategy: str) -> None:
    count = str(min(2, torch.cuda.device_count()))
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", count]
    by_cpu = trained(tmp_path, [], "--out", "cpu")
    found = trained(tmp_path, torchrun, "--out", "gpu", "--device", "cuda", "--strategy", strategy)
    assert found["validation_nats"] == pytest.approx(by_cpu["validation_nats"], abs=5e-3)
    assert f"{strategy} of {count} processes over nccl on cuda" in str(found["told"])


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["llama", "dint_ngpt"])
def test_compiled_blocks_train_to_the_loss_of_eager_ones(tmp_path: Path, preset: str) -> None:
    by_eager = trained(tmp_path, [], "--preset", preset, "--out", "eager")
    found = trained(tmp_path, [], "--preset", preset, "--out", "compiled", "--compile")
    assert found["validation_nats"] == pytest.approx(by_eager["validation_nats"], abs=1e-4)
    assert "cpu, compiled blocks; fp32; attention: flash; " in str(found["told"])

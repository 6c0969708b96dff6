"""Measure the training speed of our Mamba-2 against that of Hugging Face's (transformers), on one CPU thread.

Both have the same shape, weights, packed batch, loss and AdamW; forward, backward and step are timed together. Each
contestant has a process of its own, they take turns, and their medians and ratios are printed. Ours applies the resets
of the packed rows; Hugging Face's has none. Its speed depends on its `chunk_size`: the default is 256, and 32 is the
fastest for this shape. Nothing is reported unless all give the same logits.

    python bench/train_speed.py                                 # mamba2:tiny, 8 x 1024, about a minute
    python bench/train_speed.py --rows 2 --length 256 --rounds 3
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from multiprocessing.connection import Connection

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns of each missing CUDA kernel

import torch  # noqa: E402
import transformers  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from tallystick import models  # noqa: E402
from tallystick.models.base import Model  # noqa: E402
from tallystick.models.mamba2 import Mamba2  # noqa: E402
from tallystick.training import allocator  # noqa: E402

VOCAB = 30
PARITY = 1e-4  # of the largest logit
EPISODE = 150  # mean tokens between resets
THEIR_NAMES = {
    "embedding": "backbone.embeddings",
    "head": "lm_head",
    "layers": "backbone.layers",
    "gate_norm": "mixer.norm",
    "conv": "mixer.conv1d",
    "in_proj": "mixer.in_proj",
    "out_proj": "mixer.out_proj",
    "A_log": "mixer.A_log",
    "D": "mixer.D",
    "dt_bias": "mixer.dt_bias",
}


def their_name(name: str) -> str:
    """Return the name in transformers of one of our parameters."""
    if name == "norm.weight":
        return "backbone.norm_f.weight"
    return ".".join(THEIR_NAMES.get(part, part) for part in name.split("."))


def peer(model: Model, chunk_size: int) -> transformers.Mamba2ForCausalLM:
    """Build transformers' Mamba2ForCausalLM with the same shape and weights."""
    config = model.config
    assert isinstance(config, Mamba2.Config)
    heads = config.d_inner // config.head_dim
    theirs = transformers.Mamba2ForCausalLM(
        transformers.Mamba2Config(
            vocab_size=config.vocab_size,
            hidden_size=config.d_model,
            num_hidden_layers=config.n_layer,
            state_size=config.d_state,
            head_dim=config.head_dim,
            num_heads=heads,
            expand=config.expand,
            conv_kernel=config.d_conv,
            n_groups=1,
            tie_word_embeddings=config.tied,
            chunk_size=chunk_size,
        )
    )
    theirs.load_state_dict({their_name(name): tensor for name, tensor in model.state_dict().items()})
    return theirs.train()


def contestant(pipe: Connection, options: argparse.Namespace, chunk_size: int | None) -> None:
    """Send the logits, then the seconds of a training step for each true value received; a process's main.

    chunk_size: of transformers; None means tallystick, with the allocator set as `tallystick train` sets it.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = models.build(options.model, vocab_size=VOCAB)
    ids_BL = torch.randint(VOCAB, (options.rows, options.length + 1))
    reset_BL = torch.rand(options.rows, options.length) < 1 / EPISODE
    if chunk_size is None:
        allocator.retain_freed_pages()
    else:
        model = peer(model, chunk_size)
    with torch.no_grad():
        pipe.send(logits(model, ids_BL, None).numpy())
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    while pipe.recv():
        pipe.send(step(model, optimizer, ids_BL, reset_BL))


def logits(model: torch.nn.Module, ids_BL: torch.Tensor, reset_BL: torch.Tensor | None) -> torch.Tensor:
    """Return the logits [B, L, V]; only our model takes resets."""
    if isinstance(model, Model):
        return model(ids_BL, reset_BL=reset_BL)[0]
    return model(ids_BL, use_cache=False).logits


def step(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, ids_BL: torch.Tensor, reset_BL: torch.Tensor
) -> float:
    """Train one step; return its seconds."""
    start = time.perf_counter()
    logits_BLV = logits(model, ids_BL[:, :-1], reset_BL)
    F.cross_entropy(logits_BLV.flatten(0, 1), ids_BL[:, 1:].flatten()).backward()
    optimizer.step()
    optimizer.zero_grad()
    return time.perf_counter() - start


def start(options: argparse.Namespace, chunk_size: int | None) -> tuple[Connection, torch.Tensor]:
    """Start a contestant's process; return the pipe to it and its logits."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    context.Process(target=contestant, args=(there, options, chunk_size), daemon=True).start()
    return here, torch.from_numpy(here.recv())


def check_parity(want_BLV: torch.Tensor, got_BLV: torch.Tensor) -> None:
    """Exit unless the logits are equal up to rounding."""
    difference = ((got_BLV - want_BLV).abs().max() / want_BLV.abs().max()).item()
    if not difference <= PARITY:
        raise SystemExit(f"parity check failed: logits differ by {difference:.1e} of the largest; nothing reported")
    print(f"parity: logits differ by {difference:.1e} of the largest, allowed {PARITY:.0e}")


def measure(pipes: dict[str, Connection], rounds: int) -> dict[str, float]:
    """Return each contestant's median seconds per step; they take turns, and the first step is a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in pipes}
    for _ in range(rounds + 1):
        for name, pipe in pipes.items():
            pipe.send(True)
            seconds[name].append(pipe.recv())
    for pipe in pipes.values():
        pipe.send(False)
    return {name: statistics.median(times[1:]) for name, times in seconds.items()}


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mamba2:tiny", help="name:preset")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--length", type=int, default=1024, help="tokens per row")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--chunk-sizes", type=int, nargs="+", default=[256, 32], help="of transformers")
    return parser.parse_args()


def main() -> None:
    """Print the speeds and their ratios."""
    options = arguments()
    chunk_sizes = {"tallystick": None} | {f"transformers, chunk_size {n}": n for n in options.chunk_sizes}
    pipes, first = {}, {}
    for name, chunk_size in chunk_sizes.items():
        pipes[name], first[name] = start(options, chunk_size)
        if chunk_size:
            check_parity(first[name], first["tallystick"])
    tokens = options.rows * options.length
    speed = {name: tokens / seconds for name, seconds in measure(pipes, options.rounds).items()}
    print(
        f"{options.model}, {options.rows} x {options.length} tokens, one thread, fp32, "
        f"torch {torch.__version__}, transformers {transformers.__version__}"
    )
    for name, rate in speed.items():
        print(f"{name:30s}{rate:10,.0f} tokens/s{speed['tallystick'] / rate:8.1f} x")


if __name__ == "__main__":
    main()

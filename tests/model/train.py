"""One stage of training: python -m tests.model.train OUT.pt DATA.pkl... --steps N --rate R.

The rate rises during the first tenth of the steps and falls linearly to `--last-rate` of itself.
README.md lists the stages.
"""

import argparse
import random
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.optim import AdamW

from tests.model.examples import VOCABULARY, Example, load_examples
from tests.model.losses import Losses, losses
from tests.model.network import Shape, TinyWhisper
from tests.model.targets import Batch, Collator, shuffled_batches

DROPOUT = 0.05
LARGEST_GRADIENT = 1.0
LONGEST_WARM_UP = 300  # steps
REPORT_EVERY = 50  # steps
SAVE_EVERY = 200


def learning_rate(step: int, steps: int, peak: float, last: float) -> float:
    warm_up = min(LONGEST_WARM_UP, steps // 10) + 1
    return peak * min((step + 1) / warm_up, 1 - (1 - last) * step / steps)


def train_step(model: TinyWhisper, optimizer: AdamW, batch: Batch) -> Losses:
    memory = model.encoder(batch.features, DROPOUT)
    logits, weights = model.decoder(batch.read, memory, DROPOUT)
    result = losses(logits, weights, model.ctc(memory), batch)
    optimizer.zero_grad()
    result.total().backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
    optimizer.step()
    return result


def train(model: TinyWhisper, examples: list[Example], given: argparse.Namespace) -> None:
    rng, noise = random.Random(given.seed), np.random.default_rng(given.seed)
    collator = Collator(examples, rng, noise, given.least_frames)
    batches = shuffled_batches(examples, given.batch, rng)
    optimizer = AdamW(model.parameters(), lr=given.rate, betas=(0.9, 0.98), weight_decay=0.01)
    model.train()
    recent: list[Tensor] = []
    began = time.monotonic()
    for step in range(given.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, given.steps, given.rate, given.last_rate)
        result = train_step(model, optimizer, collator.collate(next(batches)))
        recent.append(_figures(result))
        if (step + 1) % REPORT_EVERY == 0:
            _report(step + 1, time.monotonic() - began, recent)
            recent.clear()
        if (step + 1) % SAVE_EVERY == 0:
            save(model, given.out)
    save(model, given.out)


def _figures(result: Losses) -> Tensor:
    parts = (result.text, result.timestamp, result.phoneme, result.attention, result.accuracy)
    return torch.stack([part.detach() for part in (result.total(), *parts)])


def _report(step: int, seconds: float, recent: list[Tensor]) -> None:
    names = ("loss", "text", "timestamp", "phoneme", "attention", "accuracy")
    means = torch.stack(recent).mean(0).tolist()
    figures = "  ".join(f"{name} {mean:.3f}" for name, mean in zip(names, means, strict=True))
    print(f"step {step}  {seconds:.0f} s  {figures}", flush=True)


def save(model: TinyWhisper, path: Path) -> None:
    """Replace the file in one step: a stop while writing leaves the one before."""
    unfinished = path.with_suffix(".unfinished")
    torch.save(model.checkpoint(), unfinished)
    unfinished.replace(path)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the checkpoint to write")
    parser.add_argument("data", type=Path, nargs="+", help="files of generate.py")
    parser.add_argument("--start", help="the checkpoint to go on from")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="the highest learning rate")
    parser.add_argument("--last-rate", type=float, default=0.5, help="a share of --rate")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--crop", type=float, default=0.0, help="share of long windows to cut")
    parser.add_argument("--least-frames", type=int, default=0, help="pad batches to so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    given = parse_arguments()
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    rng = random.Random(given.seed)
    examples = [example for path in given.data for example in load_examples(path, given.crop, rng)]
    if given.start:
        model = TinyWhisper.from_checkpoint(given.start)
    else:
        model = TinyWhisper(Shape(vocabulary=len(VOCABULARY)))
    print(f"{len(examples)} examples, {sum(p.numel() for p in model.parameters())} parameters")
    train(model, examples, given)


if __name__ == "__main__":
    main()

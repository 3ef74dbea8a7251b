"""The four things that training minimises, each a mean over what it concerns."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 -- the name that every user of PyTorch gives it
from torch import Tensor

from tests.model.targets import FIRST_TIMESTAMP, LAST_TIMESTAMP, UNTAUGHT, Batch

STEP_S = 0.02  # of the encoder's positions and of the timestamps
TIMESTAMP_WEIGHT = 0.3
TIMESTAMP_SIGMA = 1.5  # steps
PHONEME_WEIGHT = 0.3
ATTENTION_WEIGHT = 0.2
ALIGNMENT_HEAD = 0  # of the last layer; convert.py names it in the model's configuration
BEFORE_S, AFTER_S = 0.04, 0.06  # the attention may stray so far from its word


@dataclass(frozen=True)
class Losses:
    """Scalars; `accuracy` is the share of text tokens that come first."""

    text: Tensor
    timestamp: Tensor
    phoneme: Tensor
    attention: Tensor
    accuracy: Tensor

    def total(self) -> Tensor:
        return (
            self.text
            + TIMESTAMP_WEIGHT * self.timestamp
            + PHONEME_WEIGHT * self.phoneme
            + ATTENTION_WEIGHT * self.attention
        )


def losses(logits: Tensor, weights: Tensor, phoneme_logits: Tensor, batch: Batch) -> Losses:
    """From the decoder's (batch, step, token) and (batch, head, step, position), and the
    encoder's phonemes (batch, position, phoneme)."""
    scores = F.log_softmax(logits.float(), -1)
    labels = batch.labels
    taught = labels != UNTAUGHT
    timed = taught & (labels >= FIRST_TIMESTAMP)
    spelled = taught & ~timed
    word_scores, word_labels = scores[spelled], labels[spelled]
    return Losses(
        text=-word_scores.gather(1, word_labels[:, None]).squeeze(1).mean(),
        timestamp=_timestamp_loss(scores[timed], labels[timed]),
        phoneme=_phoneme_loss(phoneme_logits, batch.phonemes),
        attention=_attention_loss(weights, batch, taught),
        accuracy=(word_scores.argmax(1) == word_labels).float().mean(),
    )


def _timestamp_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with a bell around the true time: to be one step off is nearly right."""
    if not len(labels):
        return torch.zeros(())
    distance = torch.arange(LAST_TIMESTAMP + 1)[None] - (labels - FIRST_TIMESTAMP)[:, None]
    wanted = torch.exp(-0.5 * (distance / TIMESTAMP_SIGMA) ** 2)
    wanted = wanted / wanted.sum(1, keepdim=True)
    return -(wanted * scores[:, FIRST_TIMESTAMP:]).sum(1).mean()


def _phoneme_loss(logits: Tensor, phonemes: Sequence[list[int]]) -> Tensor:
    """CTC on the encoder: it learns to hear sounds before the decoder can spell words."""
    spoken = [i for i, symbols in enumerate(phonemes) if symbols]
    if not spoken:
        return torch.zeros(())
    scores = F.log_softmax(logits.float()[spoken], -1).transpose(0, 1)
    return F.ctc_loss(
        scores,
        torch.tensor([symbol for i in spoken for symbol in phonemes[i]]),
        torch.full((len(spoken),), scores.shape[0]),
        torch.tensor([len(phonemes[i]) for i in spoken]),
        zero_infinity=True,
    )


def _attention_loss(weights: Tensor, batch: Batch, taught: Tensor) -> Tensor:
    """Hold one head to the audio of the word being written.

    That spares the long search for an alignment, and makes the head fit for word timestamps.
    """
    known = (batch.begin >= 0) & taught
    if not known.any():
        return torch.zeros(())
    time = torch.arange(weights.shape[-1])[None] * STEP_S
    begin, end = batch.begin[known][:, None] - BEFORE_S, batch.end[known][:, None] + AFTER_S
    inside = (time >= begin) & (time <= end)
    heard = (weights.transpose(1, 2)[known][:, ALIGNMENT_HEAD] * inside).sum(-1)
    return -torch.log(heard + 1e-4).mean()

"""From a checkpoint to a faster-whisper model: python -m tests.model.convert CKPT.pt FOLDER."""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from ctranslate2.converters.transformers import WhisperLoader

from node.adapters.whisper.opening import ALONE
from tests.model.examples import MODEL, VOCABULARY
from tests.model.losses import ALIGNMENT_HEAD
from tests.model.network import Shape, TinyWhisper

WINDOW_S = 10  # the longest that the model was mostly trained on
RATE, HOP, FFT = 16000, 160, 400  # Whisper's features
LARGEST_DIFFERENCE = 1e-3  # between logits of the two implementations, in float32
BLANK = "\u0120"  # a space, as the byte-level alphabet writes it
NEVER_SAID = (
    *("<|startoftranscript|>", "<|translate|>", "<|transcribe|>"),
    *("<|startoflm|>", "<|startofprev|>", "<|nospeech|>"),
)


def check_equal(model: TinyWhisper, exported: Any) -> None:
    """Raises ValueError if the two networks differ on a full window."""
    features = torch.randn(1, 80, 3000)
    tokens = torch.randint(0, model.shape.vocabulary, (1, 9))
    with torch.no_grad():
        own, _ = model.decoder(tokens, model.encoder(features))
        other = exported(input_features=features, decoder_input_ids=tokens).logits
    difference = (own - other).abs().max().item()
    if difference > LARGEST_DIFFERENCE:
        raise ValueError(f"the exported network differs by {difference}: see to_transformers")


def configured(spec: Any, shape: Shape) -> Any:
    spec.register_vocabulary(VOCABULARY)
    start, translate = (VOCABULARY.index(f"<|{x}|>") for x in ("startoftranscript", "translate"))
    spec.config.suppress_ids = [VOCABULARY.index(token) for token in NEVER_SAID]
    # The end of text is allowed first, unlike in Whisper's own files: silence may stay empty.
    spec.config.suppress_ids_begin = [VOCABULARY.index(BLANK)]
    spec.config.lang_ids = list(range(start + 1, translate))
    spec.config.alignment_heads = [[shape.decoder_layers - 1, ALIGNMENT_HEAD]]
    return spec


def write_files(folder: Path) -> None:
    """The vocabulary, the tokenizer and the settings of the features."""
    vocabulary = json.dumps(VOCABULARY, ensure_ascii=False)
    (folder / "vocabulary.json").write_text(vocabulary, encoding="utf-8")
    shutil.copy(MODEL / "tokenizer.json", folder)
    settings = {
        "chunk_length": WINDOW_S,
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": 80,
        "hop_length": HOP,
        "n_fft": FFT,
        "n_samples": RATE * WINDOW_S,
        "nb_max_frames": RATE * WINDOW_S // HOP,
        "padding_side": "right",
        "padding_value": 0.0,
        "processor_class": "WhisperProcessor",
        "return_attention_mask": False,
        "sampling_rate": RATE,
    }
    content = json.dumps(settings, indent=1)
    (folder / "preprocessor_config.json").write_text(content, encoding="utf-8")
    file = folder / "config.json"
    known = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**known, ALONE: True}, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quantization", choices=("int8", "float32"), default="int8")
    given = parser.parse_args()
    model = TinyWhisper.from_checkpoint(given.checkpoint).eval()
    exported = model.to_transformers()
    check_equal(model, exported)
    # The loader's constructor wants a model's name; its conversion needs only the network.
    loader = WhisperLoader.__new__(WhisperLoader)
    spec = configured(loader.get_model_spec(exported), model.shape)
    spec.validate()
    spec.optimize(quantization=None if given.quantization == "float32" else given.quantization)
    given.folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(given.folder))
    write_files(given.folder)


if __name__ == "__main__":
    main()

"""Text to tokens and back: a checkpoint's tokenizer, known vocabularies, or one of our own."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tokenizers import Encoding, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE, WordLevel, WordPiece
from tokenizers.trainers import BpeTrainer, WordLevelTrainer

from egress.files import replacing
from egress.tasks.files import data_folder, read_text
from egress.tasks.task import DataError, Task

PAD, UNKNOWN, START, END, BREAK = "<pad>", "<unk>", "<s>", "</s>", "<sep>"
"""Special tokens of vocabularies that are made here."""

_SPECIAL = [PAD, UNKNOWN, START, END, BREAK]
_BERT_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A tokenizer and the tokens that frame text.

    Members
    -------
    tokenizer : tokenizers.Tokenizer
        Adds no special tokens by itself.
    pad, start, end, between : int
        Tokens: padding, before a text, after it, and between its parts.
    """

    tokenizer: Tokenizer
    pad: int
    start: int
    end: int
    between: int

    @property
    def size(self) -> int:
        """Tokens in all."""
        return self.tokenizer.get_vocab_size(with_added_tokens=True)

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Encode texts, without special tokens."""
        return self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)

    def encode_with_offsets(self, texts: Sequence[str]) -> list[Encoding]:
        """Encode texts; encodings also tell where tokens stand, in characters."""
        return self.tokenizer.encode_batch(list(texts), add_special_tokens=False)

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of tokens, special ones left out."""
        special = {self.pad, self.start, self.end, self.between}
        return self.tokenizer.decode([token for token in tokens if token not in special]).strip()


def load_tokenizer(
    task: Task,
    kind: Literal["checkpoint", "bert", "gpt2", "trained", "words"] = "trained",
    *,
    source: str | Path | None = None,
    size: int = 2048,
    data: Path | str | None = None,
    cache: Path | None = None,
) -> Vocabulary:
    """Load or make a tokenizer.

    Parameters
    ----------
    task : Task
        On whose train split one is trained.
    kind : str
        ``"checkpoint"``: that of ``source``. ``"bert"`` and ``"gpt2"``: those models' own, from
        ``vocab/`` in the folder of data. ``"trained"``: byte-level BPE, so that any text comes
        back as it was. ``"words"``: one token a word between spaces, for generated tasks.
    source : str, Path or None
        Folder, name on the hub, or ``"minilm"``.
    size : int
        Most tokens of one that is trained.
    data : Path, str or None
        As of `load_task`.
    cache : Path or None
        Folder where trained ones are kept.

    Raises
    ------
    DataError
        If files are missing or broken.
    """
    if kind == "checkpoint":
        if source is None:
            raise DataError("a checkpoint's tokenizer needs the checkpoint: give source")
        return _of_checkpoint(source)
    if kind == "bert":
        tokens = read_text(data_folder(data), "vocab/bert_base_uncased_vocab.txt").split("\n")
        return _bert({token: at for at, token in enumerate(tokens) if token})
    if kind == "gpt2":
        return _gpt2(data_folder(data))
    return _trained(task, kind, size, cache)


def _framed(tokenizer: Tokenizer, pad: str, start: str, end: str, between: str) -> Vocabulary:
    found = []
    for token in (pad, start, end, between):
        found.append(tokenizer.token_to_id(token))
        if found[-1] is None:
            raise DataError(f"the tokenizer has no token {token!r}")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return Vocabulary(tokenizer, *found)


def _bert(vocabulary: dict[str, int]) -> Vocabulary:
    pad, unknown, start, end = _BERT_SPECIAL
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(_BERT_SPECIAL))
    return _framed(tokenizer, pad, start, end, end)


def _gpt2(folder: Path) -> Vocabulary:
    vocabulary = json.loads(read_text(folder, "vocab/gpt2_vocab.json"))
    lines = read_text(folder, "vocab/gpt2_merges.txt").split("\n")
    merges = [
        (pair[0], pair[1])
        for line in lines
        if not line.startswith("#version") and len(pair := line.split(" ")) == 2
    ]
    tokenizer = Tokenizer(BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    # GPT-2 has one special token; padding needs another, or the end of a text is not seen.
    tokenizer.add_special_tokens(["<|endoftext|>", PAD, BREAK])
    return _framed(tokenizer, PAD, "<|endoftext|>", "<|endoftext|>", BREAK)


def _of_checkpoint(source: str | Path) -> Vocabulary:
    from transformers import AutoTokenizer

    from egress.models.pretrained import checkpoint_path

    path = checkpoint_path(source)
    try:
        loaded = AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{source}: no tokenizer can be loaded: {error}") from None
    tokenizer = loaded.backend_tokenizer
    end = loaded.sep_token or loaded.eos_token
    start = loaded.cls_token or loaded.bos_token or end
    return _framed(tokenizer, loaded.pad_token or end, start, end, end)


def _trained(task: Task, kind: str, size: int, cache: Path | None) -> Vocabulary:
    texts = list(task.texts("train"))
    digest = hashlib.sha256(f"{kind} {size} {_SPECIAL}".encode())
    for text in texts:
        digest.update(text.encode() + b"\0")
    kept = None if cache is None else cache / f"tokenizer-{digest.hexdigest()[:16]}.json"
    if kept is not None and kept.exists():
        return _framed(Tokenizer.from_file(str(kept)), PAD, START, END, BREAK)
    if kind == "words":
        tokenizer = Tokenizer(WordLevel(unk_token=UNKNOWN))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        trainer = WordLevelTrainer(vocab_size=size, special_tokens=_SPECIAL, show_progress=False)
    else:
        tokenizer = Tokenizer(BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = BpeTrainer(
            vocab_size=size,
            special_tokens=_SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    tokenizer.train_from_iterator(texts, trainer)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with replacing(kept) as temporary:
            tokenizer.save(str(temporary))
    return _framed(tokenizer, PAD, START, END, BREAK)

"""A small language model of short stories as a task of `egress.bench.rdo`.

It is read from the files of karpathy's llama2.c: a header of seven integers and float32 tensors,
and a tokenizer. Nothing of them is part of this project.
"""

import gzip
import re
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy, rms_norm, scaled_dot_product_attention, silu

from egress.bench.rdo import Quality
from egress.checkpoint import Array, ContainerError
from egress.train.loop import torch_threads

FISHER_WINDOWS = 128
"""Pieces of training text, each as long as the model can read, for the Fisher information."""

_BOS = 1
_BYTES = 3  # token of byte 0
_EPSILON = 1e-5
_VALIDATION_WINDOWS = 25
_PIECE = re.compile(rb" ?[^\s]+|\s")  # no token reaches across the space that begins a word


class StoriesTask:
    """A Llama of 260,000 weights; losses are in bits a byte of text.

    Parameters
    ----------
    model, tokenizer : Path
        ``stories260K.bin`` and ``tok512.bin``, or the same with ``.gz``.
    test, train : Path
        Held-out text, and text for the Fisher information and, behind that, validation; see
        `sentence_case`.

    Raises
    ------
    ContainerError
        If a file is not what it should be, or too short.
    """

    name = "stories260K"
    unit = 2.0**-3

    def __init__(self, model: Path, tokenizer: Path, test: Path, train: Path) -> None:
        self.heads, self.positions, tensors = read_model(model)
        self.state: Mapping[str, Array] = tensors
        pieces = read_tokenizer(tokenizer, len(tensors["tok_embeddings"]))
        text = sentence_case(_read(test))
        self._test = self._windows(encode_text(text, pieces)), len(text)
        windows = FISHER_WINDOWS
        text = sentence_case(_read(train)[: 4 * windows * self.positions])
        tokens = encode_text(text, pieces)
        cut = windows * (self.positions - 1)
        if len(tokens) < cut + self.positions:
            raise ContainerError(
                f"{train}: {len(tokens):,} tokens are too few: {2 * cut:,} will do"
            )
        behind = tokens[cut : cut + _VALIDATION_WINDOWS * (self.positions - 1)]
        size = sum(len(pieces[token]) for token in behind)
        self._validation = self._windows(behind), size
        with torch_threads(1):
            self.importance: Mapping[str, Array] = self._fisher(self._windows(tokens[:cut]))

    def quality(self, state: Mapping[str, Array]) -> Quality:
        """Measure the model with other weights."""
        with torch_threads(1):
            validation = self._loss(state, *self._validation)
            return Quality(validation, self._loss(state, *self._test), None)

    def _windows(self, tokens: list[int]) -> Tensor:
        """Tokens in rows, each after the token that begins a text; what is left over is padded."""
        length = self.positions - 1
        rows = -(-len(tokens) // length)
        padded = np.full(rows * length, -100, np.int64)
        padded[: len(tokens)] = tokens
        table = np.full((rows, length + 1), _BOS, np.int64)
        table[:, 1:] = padded.reshape(rows, length)
        return torch.from_numpy(table)

    @torch.no_grad()
    def _loss(self, state: Mapping[str, Array], windows: Tensor, size: int) -> float:
        tensors = {k: torch.from_numpy(np.asarray(v, np.float32)) for k, v in state.items()}
        nats = 0.0
        for part in windows.split(16):
            logits = forward(tensors, part[:, :-1].clamp(min=0), self.heads)
            nats += float(
                cross_entropy(logits.flatten(0, 1), part[:, 1:].flatten(), reduction="sum")
            )
        return nats / np.log(2) / size

    def _fisher(self, windows: Tensor) -> dict[str, NDArray[np.float32]]:
        """Diagonal Fisher information, summed over tokens.

        Answers are drawn from the model's own: then slopes of different tokens are uncorrelated, so
        that the square of their sum, which is what one pass gives, has the expectation of the sum
        of their squares.
        """
        tensors = {
            k: torch.from_numpy(v).requires_grad_(not k.endswith("norm"))
            for k, v in self.state.items()
        }
        matrices = {k: v for k, v in tensors.items() if v.requires_grad}
        sums = {k: torch.zeros_like(v) for k, v in matrices.items()}
        generator = torch.Generator().manual_seed(0)
        for window in windows:
            logits = forward(tensors, window[None, :-1], self.heads)[0]
            drawn = torch.multinomial(logits.detach().softmax(1), 1, generator=generator)[:, 0]
            loss = cross_entropy(logits, drawn, reduction="sum")
            for name, slope in zip(
                matrices, torch.autograd.grad(loss, list(matrices.values())), strict=True
            ):
                sums[name] += slope.square()
        return {k: v.numpy() for k, v in sums.items()}


def forward(tensors: Mapping[str, Tensor], tokens: Tensor, heads: int) -> Tensor:
    """Run the model: logits, shape (rows, length, vocabulary), of tokens, shape (rows, length)."""
    x = tensors["tok_embeddings"][tokens]
    rows, length, width = x.shape
    size = width // heads
    angle = torch.outer(torch.arange(length), 10000.0 ** (-torch.arange(0, size, 2) / size))
    turn = torch.polar(torch.ones_like(angle), angle)

    def rotate(y: Tensor) -> Tensor:
        pairs = torch.view_as_complex(y.unflatten(-1, (-1, 2)).contiguous())
        return torch.view_as_real(pairs * turn).flatten(-2)

    for layer in range(len(tensors["wq"])):
        t = {k: v[layer] for k, v in tensors.items() if k not in ("tok_embeddings", "norm")}
        y = rms_norm(x, (width,), t["attention_norm"], _EPSILON)
        q, k, v = (
            (y @ t[name].T).unflatten(-1, (-1, size)).transpose(1, 2) for name in ("wq", "wk", "wv")
        )
        repeats = heads // k.shape[1]
        k, v = rotate(k).repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1)
        y = scaled_dot_product_attention(rotate(q), k, v, is_causal=True)
        x = x + y.transpose(1, 2).reshape(rows, length, width) @ t["wo"].T
        y = rms_norm(x, (width,), t["ffn_norm"], _EPSILON)
        x = x + (silu(y @ t["w1"].T) * (y @ t["w3"].T)) @ t["w2"].T
    x = rms_norm(x, (width,), tensors["norm"], _EPSILON)
    return x @ tensors["tok_embeddings"].T


def read_model(path: Path) -> tuple[int, int, dict[str, NDArray[np.float32]]]:
    """Heads, positions and tensors of a model whose head is its embedding.

    Raises
    ------
    ContainerError
        If it is not such a file.
    """
    data = _read(path)
    config = np.frombuffer(data[:28], "<i4").tolist()
    if len(config) < 7 or min(config) < 1 or max(config) > 1 << 20 or config[0] % config[3]:
        raise ContainerError(f"{path}: not a model of llama2.c whose head is its embedding")
    width, hidden, layers, heads, kv_heads, vocabulary, positions = config
    kv = width // heads * kv_heads
    shapes = {
        "tok_embeddings": (vocabulary, width),
        "attention_norm": (layers, width),
        "wq": (layers, width, width),
        "wk": (layers, kv, width),
        "wv": (layers, kv, width),
        "wo": (layers, width, width),
        "ffn_norm": (layers, width),
        "w1": (layers, hidden, width),
        "w2": (layers, width, hidden),
        "w3": (layers, hidden, width),
        "norm": (width,),
    }
    numbers = np.frombuffer(data[28 : len(data) // 4 * 4], "<f4").astype(np.float32)
    tensors, at = {}, 0
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        if at + size > len(numbers):
            raise ContainerError(f"{path}: ends within {name}")
        tensors[name] = numbers[at : at + size].reshape(shape)
        at += size
    return heads, positions, tensors


def read_tokenizer(path: Path, vocabulary: int) -> list[bytes]:
    """Pieces of text by token, those that merge first in front.

    Raises
    ------
    ContainerError
        If it is not a tokenizer of llama2.c of so many tokens.
    """
    data, at, pieces = _read(path), 4, []
    for _ in range(vocabulary):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + size > len(data) or size > 1 << 10:
            raise ContainerError(f"{path}: not a tokenizer of {vocabulary} tokens")
        pieces.append(data[at + 8 : at + 8 + size])
        at += 8 + size
    for byte in range(256):
        pieces[_BYTES + byte] = bytes([byte])
    return pieces


def encode_text(text: bytes, pieces: list[bytes]) -> list[int]:
    """Tokens of a text: of neighbours those merge first whose piece has the lowest token."""
    # Of a byte and a character that are the same, the later, the character, is the one to take.
    token_of = {piece: token for token, piece in enumerate(pieces) if piece}

    @cache
    def encode_word(word: bytes) -> tuple[int, ...]:
        parts = [
            token_of.get(c, _BYTES + c[0]) for c in (word[i : i + 1] for i in range(len(word)))
        ]
        while True:
            pairs = [
                (token_of.get(pieces[a] + pieces[b], 1 << 30), at)
                for at, (a, b) in enumerate(pairwise(parts))
            ]
            token, at = min(pairs, default=(1 << 30, 0))
            if token == 1 << 30:
                return tuple(parts)
            parts[at : at + 2] = [token]

    return [token for word in _PIECE.findall(text) for token in encode_word(word)]


def sentence_case(text: bytes) -> bytes:
    """Capitalise sentences and lines of a text that has no capital letters, and drop blank lines.

    Lower case throughout is what the model never saw. Another text is returned as it is.
    """
    if text != text.lower():
        return text
    text = re.sub(rb"\n+", b"\n", text.strip())
    text = re.sub(rb"(^|[.!?:]\"?\s+|\n|[:,]\s+\")(\"?[a-z])", lambda m: m[1] + m[2].upper(), text)
    return re.sub(rb"\bi\b", b"I", text)


def _read(path: Path) -> bytes:
    try:
        if path.suffix == ".gz":
            return gzip.decompress(path.read_bytes())
        return path.read_bytes()
    except (OSError, EOFError) as error:
        raise ContainerError(f"{path}: {error}") from None

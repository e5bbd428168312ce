"""fieldnotes: the text, which is on every machine that can run this example.

Public text: the reference of the Python language, as the standard library ships it for `help()`. Private documents: what SciPy says of
its own functions, a document each. Every laboratory works in another field, and has documents of that part of SciPy. They are read from its
source files, of which nothing is run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from pydoc_data.topics import topics
from random import Random

import torch

FIELDS = ("signal", "stats", "optimize", "interpolate", "sparse")
ALPHABET = "\n" + "".join(map(chr, range(32, 127)))  # a character is a byte
SHORTEST = 400  # characters; what is shorter says little
TRAINING, HELD_OUT = 3, 3  # documents of a laboratory: to train on, and for evaluation only

_NUMBERS = {character: number for number, character in enumerate(ALPHABET)}


def encode(text: str) -> torch.Tensor:
    """The numbers of its characters; others than those of the alphabet are left out."""
    return torch.tensor([_NUMBERS[character] for character in text if character in _NUMBERS])


def decode(numbers: torch.Tensor) -> str:
    """The text again."""
    return "".join(ALPHABET[number] for number in numbers.tolist())


@cache
def public_text() -> tuple[torch.Tensor, torch.Tensor]:
    """The language reference: text to train on, and one topic in twenty for evaluation."""
    names = sorted(topics)
    held_out = names[::20]
    return _joined(topics[name] for name in names if name not in held_out), _joined(topics[name] for name in held_out)


@cache
def documents(laboratory: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A laboratory's own documents: text to train on, and text for evaluation.

    SciPy describes an argument in the same words wherever it occurs. A paragraph is kept where it comes first, so that none is in both.
    """
    kept, seen = [], set[str]()
    for text in islice(_docstrings(FIELDS[laboratory]), TRAINING + HELD_OUT):
        paragraphs = [paragraph for paragraph in text.split("\n\n") if paragraph not in seen]
        seen.update(paragraphs)
        kept.append("\n\n".join(paragraphs))
    return _joined(kept[:TRAINING]), _joined(kept[TRAINING:])


def _docstrings(field: str) -> Iterator[str]:
    """One of each source file of a part of SciPy, in an order of chance that is the same everywhere."""
    chance, folder = Random(field), Path(find_spec("scipy").origin).parent / field
    for path in chance.sample(paths := sorted(folder.rglob("*.py")), len(paths)):
        if "tests" not in path.parts:
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            found = [ast.get_docstring(node) or "" for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)]
            if long := [text for text in found if len(text) >= SHORTEST]:
                yield chance.choice(long)


def _joined(texts: Iterable[str]) -> torch.Tensor:
    return encode("\n\n".join(texts))

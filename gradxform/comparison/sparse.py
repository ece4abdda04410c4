"""Which module is this docstring from? Bags of words, most of them rare."""

import ast
import hashlib
import re
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..core.extra import require_extra
from ..core.types import Params
from .result import Reference
from .task import Data, Task

# Modules of the standard library with many docstrings, in every Python from 3.11 on.
# fmt: off
_MODULES = (
    "argparse", "asyncio", "bdb", "calendar", "codecs", "collections", "configparser", "difflib",
    "doctest", "email", "enum", "fractions", "http", "imaplib", "importlib", "inspect",
    "ipaddress", "logging", "mailbox", "multiprocessing", "numbers", "operator", "pathlib", "pdb",
    "pydoc", "smtplib", "socketserver", "ssl", "statistics", "tarfile", "threading", "turtle",
    "typing", "unittest", "urllib", "wsgiref", "xml", "xmlrpc", "zipfile",
)
# fmt: on
_FILES = {"_pydecimal": "decimal"}
_SPLIT_SEED = 0
_SHARE = 0.2  # each of validation and test
_LEAST = 2  # training docstrings that a word must be in
_UNITS = 32
_WORD = re.compile(r"[a-z]+")


class Documents(NamedTuple):
    """Docstrings and the modules that they are from."""

    texts: tuple[str, ...]
    labels: np.ndarray  # [document]: the place of its module in `modules`
    modules: tuple[str, ...]
    sha256: str  # of all texts with their modules


@cache
def docstrings() -> Documents:
    """The docstrings of some forty modules of this Python's standard library.

    Read from their source, without importing them. A text that occurs in several modules is left
    out, and one that occurs more than once in a module is kept once, so that no text is in two
    splits. They differ between Python's versions, so their hash is kept with results.

    Raises:
      FileNotFoundError: this Python's standard library has no source files.
    """
    found: dict[str, tuple[str, str]] = {}  # text in lower case to the text and its module
    ambiguous = set()
    for module, text in _read(Path(sysconfig.get_path("stdlib"))):
        key = " ".join(text.lower().split())
        if key in found and found[key][1] != module:
            ambiguous.add(key)
        found.setdefault(key, (text, module))
    kept = sorted(value for key, value in found.items() if key not in ambiguous)
    if not kept:
        raise FileNotFoundError(
            "the task `sparse` reads the source files of Python's standard library, and "
            f"{sysconfig.get_path('stdlib')} has none."
        )
    modules = tuple(sorted({module for _, module in kept}))
    places = {module: i for i, module in enumerate(modules)}
    digest = hashlib.sha256("\0".join(f"{m}\0{t}" for t, m in kept).encode()).hexdigest()
    labels = np.array([places[module] for _, module in kept], np.int32)
    return Documents(tuple(text for text, _ in kept), labels, modules, digest)


def _read(library: Path) -> Iterator[tuple[str, str]]:
    """(module, docstring) of everything that has one."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for name in [*_MODULES, *_FILES]:
        folder = library / name
        for path in sorted(folder.rglob("*.py")) if folder.is_dir() else [library / f"{name}.py"]:
            if not path.is_file():
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about the library's own escapes
                tree = ast.parse(path.read_bytes())
            for node in ast.walk(tree):
                if isinstance(node, kinds) and (text := ast.get_docstring(node)):
                    yield _FILES.get(name, name), text


def sparse_task() -> Task:
    """Say which module of the standard library a docstring is from, by the words it has.

    A document is the set of its words; each is 1 over the square root of their number. Words that
    are in fewer than two training documents are left out. The network has 32 hidden units, ReLU.
    Most words are rare, so that most rows of its first layer have a gradient of zero in most
    steps. Splits are stratified by module, by a fixed seed: 60 % to train, 20 % each to validate
    and to test. The loss is the cross entropy, the metric the accuracy.
    """
    require_extra("compare", "sklearn")
    from sklearn.model_selection import train_test_split

    documents = docstrings()
    held_out = int(_SHARE * len(documents.texts))
    everything = np.arange(len(documents.texts))

    def split(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first, second = train_test_split(
            places,
            test_size=held_out,
            stratify=documents.labels[places],
            random_state=_SPLIT_SEED,
        )
        return first, second

    rest, test = split(everything)
    train, validation = split(rest)
    words = [set(_WORD.findall(text.lower())) for text in documents.texts]
    counts = Counter(word for place in train for word in words[place])
    vocabulary = {w: i for i, w in enumerate(sorted(w for w in counts if counts[w] >= _LEAST))}

    def examples(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = np.zeros((len(places), len(vocabulary)), np.uint8)
        for row, place in zip(rows, places, strict=True):
            row[[vocabulary[word] for word in words[place] if word in vocabulary]] = 1
        return rows, documents.labels[places]

    sizes = (len(vocabulary), _UNITS, len(documents.modules))
    return Task(
        name="sparse",
        init=lambda key: _init(key, sizes),
        loss=_cross_entropy,
        metric=_accuracy,
        train=examples(train),
        validation=examples(validation),
        test=examples(test),
        metric_name="accuracy",
        percent=True,
        details={
            "data": f"docstrings of {len(documents.modules)} standard-library modules, those in "
            "several modules left out",
            "sha256": documents.sha256,
            "modules": documents.modules,
            "vocabulary": len(vocabulary),
            "split": "train_test_split, stratified: test first, then validation",
            "split_seed": _SPLIT_SEED,
            "model": f"MLP {'-'.join(map(str, sizes))}, ReLU; normal hidden layer, the rest 0",
            "loss": "cross entropy",
        },
    )


def sparse_references(task: Task) -> tuple[Reference, ...]:
    """The most frequent module, scikit-learn's naive Bayes and its logistic regression.

    Args:
      task: what `sparse_task` returns.

    Returns:
      Their accuracies on its validation and test splits.
    """
    require_extra("compare", "sklearn", "scipy")
    from scipy.sparse import csr_array
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import MultinomialNB

    def scaled(data: Data) -> tuple[Any, np.ndarray]:
        return csr_array(np.asarray(_scaled(data[0]))), data[1]

    def reference(name: str, model: Any) -> Reference:
        model.fit(*scaled(task.train))
        validation, test = (float(model.score(*scaled(d))) for d in (task.validation, task.test))
        return Reference(name, validation, test, repr(model))

    return (
        reference("most frequent module", DummyClassifier()),
        reference("naive Bayes", MultinomialNB(alpha=0.1)),
        reference("logistic regression", LogisticRegression(C=30.0, tol=0.01, max_iter=1000)),
    )


def _init(key: jax.Array, sizes: tuple[int, int, int]) -> Params:
    words, units, modules = sizes
    # Rows of length 1 have units of size 1. From zeros the output starts at chance.
    return [
        {"w": jax.random.normal(key, (words, units)), "b": jnp.zeros(units)},
        {"w": jnp.zeros((units, modules)), "b": jnp.zeros(modules)},
    ]


def _scaled(rows: Any) -> jax.Array:
    """Rows of ones and zeros, each with length 1."""
    rows = jnp.asarray(rows, jnp.float32)
    return rows / jnp.sqrt(jnp.maximum(jnp.sum(rows, axis=-1, keepdims=True), 1.0))


def _logits(params: Params, rows: jax.Array) -> jax.Array:
    hidden, last = params
    units = jax.nn.relu(_scaled(rows) @ hidden["w"] + hidden["b"][None])
    return units @ last["w"] + last["b"][None]


def _cross_entropy(params: Params, batch: Data) -> jax.Array:
    rows, labels = batch
    log_probabilities = jax.nn.log_softmax(_logits(params, rows))
    wanted = jax.nn.one_hot(labels, log_probabilities.shape[-1])
    return -jnp.mean(jnp.sum(log_probabilities * wanted, axis=-1))


def _accuracy(params: Params, data: Data) -> jax.Array:
    rows, labels = data
    return jnp.mean(jnp.argmax(_logits(params, rows), axis=-1) == labels)

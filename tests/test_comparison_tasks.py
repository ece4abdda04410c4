"""The tasks of the command line: real data without leakage, and honest references."""

import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from gradxform.comparison.corpus import LENGTH, ngram_bits, python_reference, text_references
from gradxform.comparison.sparse import docstrings, sparse_references, sparse_task
from gradxform.comparison.tasks import TASKS
from gradxform.comparison.text import rnn_task, text_task


def test_the_text_is_split_in_order_and_no_paragraph_is_in_two_parts() -> None:
    corpus = python_reference()
    train, validation, test = corpus.splits
    assert [round(len(s) / sum(map(len, corpus.splits)), 3) for s in corpus.splits] == [
        0.9, 0.05, 0.05,
    ]  # fmt: skip
    whole = [" ".join(p.split()) for p in (train + validation + test).split("\n\n")]
    assert len(set(whole)) == len(whole) > 1000
    assert len(corpus.sha256) == 64
    assert corpus.details["sha256"] == corpus.sha256


def test_windows_predict_every_character_once() -> None:
    corpus = python_reference()
    text = corpus.splits[1]
    windows = corpus.windows(text)
    assert windows.shape == ((len(text) - 1) // LENGTH, LENGTH + 1)
    predicted = "".join(corpus.alphabet[i] for i in windows[:, 1:].ravel())
    assert text[1:].startswith(predicted)
    assert len(predicted) > len(text) - 1 - LENGTH


def test_ngrams_are_smoothed_as_witten_and_bell_say() -> None:
    # "aab": a twice, b once; after a: a once, b once.
    def single(count: int) -> float:
        return (count + 2 * 0.25) / (3 + 2)

    first, second = single(2), (1 + 2 * single(1)) / (2 + 2)
    (bits,) = ngram_bits("aab", ["ab"], 1, 4)
    assert bits == pytest.approx(-(math.log2(first) + math.log2(second)) / 2)
    (unseen,) = ngram_bits("aab", ["c"], 1, 4)
    assert unseen == pytest.approx(-math.log2(single(0)))


def test_references_of_the_text_come_in_the_order_of_what_they_know() -> None:
    references = {r.name: r for r in text_references(text_task())}
    assert [*references] == [
        "uniform", "single characters", "bzip2", "6-grams", "LZMA after training text",
    ]  # fmt: skip
    bits = [r.test for r in references.values()]
    assert bits[0] == pytest.approx(math.log2(len(python_reference().alphabet)))
    assert bits[0] > bits[1] > bits[2] > bits[3] > 1.0


@pytest.mark.parametrize("make", [text_task, rnn_task])
def test_models_of_the_text_start_at_chance_and_look_back_only(make: Any) -> None:
    task = make()
    params = task.init(jax.random.key(0))
    # A whole split is judged in parts; the last part is not full.
    few = task.validation[:70]
    assert float(task.metric(params, few)) == pytest.approx(
        math.log2(len(python_reference().alphabet)), rel=1e-5
    )
    params = {**params, "out": jax.random.normal(jax.random.key(1), params["out"].shape)}
    window = jnp.asarray(task.validation[0])
    # The last character is predicted and never seen: of the output only its own columns differ.
    last = jnp.stack([window, window.at[-1].set((window[-1] + 1) % 50)])
    grad = jax.jit(jax.grad(lambda out, w: task.loss({**params, "out": out}, w[None])))
    one, other = (np.asarray(grad(params["out"], w)) for w in last)
    assert np.flatnonzero(np.abs(one - other).sum(axis=0)).tolist() == sorted(map(int, last[:, -1]))
    # One in the middle is seen by those after it, by way of every column.
    middle = window.at[40].set((window[40] + 1) % 50)
    assert (np.abs(one - np.asarray(grad(params["out"], middle))).sum(axis=0) > 0).mean() > 0.9


def test_the_metric_is_the_mean_over_all_windows() -> None:
    task = rnn_task()
    params = task.init(jax.random.key(0))
    params = {**params, "out": jax.random.normal(jax.random.key(1), params["out"].shape)}
    few = task.validation[:70]
    expected = task.loss(params, few) / math.log(2)
    np.testing.assert_allclose(task.metric(params, few), expected, rtol=1e-5)


def test_docstrings_are_in_one_module_and_one_split() -> None:
    documents, task = docstrings(), sparse_task()
    keys = [" ".join(text.lower().split()) for text in documents.texts]
    assert len(set(keys)) == len(keys) > 2000
    assert len(documents.modules) >= 30
    sizes = task.sizes
    assert sum(sizes.values()) == len(keys)
    assert sizes["validation"] == sizes["test"] == len(keys) // 5
    words, labels = task.train
    assert words.dtype == np.uint8
    assert words.sum(axis=0).min() >= 2  # the vocabulary is that of the training split
    assert np.mean(words > 0) < 0.02  # rare features
    shares = [np.bincount(d[1], minlength=40) / len(d[1]) for d in (task.train, task.test)]
    assert np.abs(shares[0] - shares[1]).max() < 0.01
    params = task.init(jax.random.key(0))
    assert float(task.loss(params, (words[:32], labels[:32]))) == pytest.approx(
        math.log(len(documents.modules)), rel=1e-5
    )


def test_references_of_the_docstrings_beat_the_most_frequent_module() -> None:
    task = sparse_task()
    of_five = {
        split: tuple(part[data[1] < 5] for part in data)
        for split, data in (("train", task.train), ("validation", task.validation),
                            ("test", task.test))
    }  # fmt: skip
    majority, bayes, logistic = sparse_references(replace(task, **of_five))
    assert 0.2 < majority.test < min(bayes.test, logistic.test)
    assert max(bayes.test, logistic.test) > 0.75


def test_standard_optimizers_of_each_task() -> None:
    assert [*TASKS] == ["digits", "text", "rnn", "sparse"]
    nine = [c.name for c in TASKS["digits"].standard()]
    assert [c.name for c in TASKS["rnn"].standard()] == [*nine, "sgd-clipped", "momentum-clipped"]
    assert {*nine} - {c.name for c in TASKS["text"].standard()} == {
        "nesterov",
        "adagrad",
        "adam-l2",
    }
    for named in TASKS.values():
        for candidate in named.standard():
            (rates,) = candidate.grid.values()
            start = gx.hyperparams(candidate.transformation.init(jnp.zeros(1)))["learning_rate"]
            assert len(rates) in (5, 7)
            assert rates[0] <= start < rates[-1]

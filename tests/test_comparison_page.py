"""The page: whole, escaped, and with nothing in it that needs another file."""

import html.parser
import json
import math
import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import optax
import pytest
from comparisons import BEST, NEAR, WORSE, comparison, result, three

import gradxform as gx
from gradxform.comparison.candidate import Candidate
from gradxform.comparison.environment import environment
from gradxform.comparison.page import page
from gradxform.comparison.result import CandidateResult, Comparison, Reference
from gradxform.comparison.strips import strips

_VOID = {"meta", "link", "br", "wbr"}
NASTY = """<script>alert("x")</script>&'$a_1$`b`"""


class Parsed(html.parser.HTMLParser):
    """The elements and the text of a page whose tags are nested as they should."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & {*self.open}:
            self.text += data

    def values(self, name: str) -> list[str]:
        return [attrs[name] or "" for _, attrs in self.tags if name in attrs]


def with_transformation(name: str, transformation: Any, scores: list[float]) -> CandidateResult:
    ours = result(name, validation=[scores, WORSE], test=[scores, WORSE])
    candidate = Candidate(name, transformation, ours.candidate.grid)
    return CandidateResult(**{**vars(ours), "candidate": candidate})


def full() -> Comparison:
    chained = gx.chain(gx.clip_by_global_norm(1.0), gx.adam(gx.tunable(0.5)))
    return comparison(
        with_transformation("chained", chained, BEST),
        with_transformation("function", gx.adamw, NEAR),
        result("alone", validation=[WORSE], test=[WORSE], milliseconds=0.5),
        references=(Reference("nearest", 0.97, 0.96, "KNN()"),),
        environment=environment(),
        details={"data": "digits", "more": {"seed": 0}},
        target=0.9,
        percent=True,
        metric_name="accuracy",
    )


def test_the_page_is_whole_and_says_what_was_found() -> None:
    c = full()
    parsed = Parsed(page(c))
    text = " ".join(parsed.text.split())
    assert "chained is first: test accuracy 96.80 ± 0.37 %; function is not told apart from" in text
    for words in (
        "96.80 ± 0.37",
        "worse by [95 %]",
        "nearest",
        "KNN()",
        "steps to 90 %",
        "digits",
        "seed 0",
    ):
        assert words in text
    assert f"jax {c.environment['versions']['jax']}" in text
    for finding in gx.diagnose_comparison(c):
        assert finding.seen.replace("`", "") in text
    ids = parsed.values("id")
    assert len(set(ids)) == len(ids)
    for target in [*parsed.values("data-copy"), *parsed.values("aria-labelledby")]:
        assert target in ids
    assert {link[1:] for link in parsed.values("href") if link[0] == "#"} <= {*ids}


def test_it_needs_nothing_from_elsewhere() -> None:
    source = page(full())
    parsed = Parsed(source)
    assert all(link.startswith(("#", "data:")) for link in parsed.values("href"))
    assert parsed.values("src") == []
    assert not re.findall(r"url\((?!#)|@import|xlink:href=\"(?!#)", source)
    (policy,) = [a["content"] for _, a in parsed.tags if a.get("http-equiv")]
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_what_is_copied_builds_what_was_chosen() -> None:
    source = page(full())
    expected = {
        1: gx.chain(gx.clip_by_global_norm(1.0), gx.adam(0.01)),
        2: gx.adamw(0.01),
        3: gx.sgd(0.01),
    }
    for place, transformation in expected.items():
        block = re.search(rf'<pre id="call-{place}">(.*?)</pre>', source, re.DOTALL)
        assert block is not None
        lines = Parsed(block[1]).text.strip().partition("\n")
        scope: dict[str, Any] = {}
        exec(lines[0], scope)
        assert eval(lines[2].strip(), scope) == transformation
        block = re.search(rf'<pre id="config-{place}">(.*?)</pre>', source, re.DOTALL)
        assert block is not None
        assert gx.from_config(json.loads(Parsed(block[1]).text)) == transformation


def test_every_text_is_escaped() -> None:
    c = comparison(
        with_transformation(NASTY, optax.sgd(0.1), BEST),
        result("other", validation=[NEAR], test=[NEAR]),
        task=NASTY,
        metric_name=NASTY,
        details={NASTY: NASTY},
        search={NASTY: [NASTY]},
        environment={NASTY: NASTY},
        references=(Reference(NASTY, 0.5, 0.5, NASTY),),
    )
    for source in (page(c), c._repr_html_()):
        assert source is not None
        parsed = Parsed(source)
        assert sum(tag == "script" for tag, _ in parsed.tags) == (source == page(c))
        assert 'alert("x")' in parsed.text


def test_pictures_are_svg_in_the_colours_of_the_page() -> None:
    source = page(full())
    pictures = re.findall(r"<svg class=\"gx-plot\".*?</svg>", source, re.DOTALL)
    assert len(pictures) == 2 + 2  # curves, profiles, and each candidate with a choice
    for picture in pictures:
        names = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
        tree = ElementTree.fromstring(picture.replace("<svg", f"<svg {names}", 1))
        assert tree.get("aria-label")
        assert "#000000" not in picture
    assert all(f"--line-{i}:" in source for i in range(9))
    assert "stroke: var(--line-0)" in pictures[0]


def odd_cases() -> list[Comparison]:
    rows = [("a", 2.5), ("b", 3.5)]
    lower = [result(n, validation=[[s, s]], test=[[s, s]], lower_is_better=True) for n, s in rows]
    lost = result("lost", validation=[[math.nan] * 2] * 2, test=[[math.nan] * 2] * 2)
    huge = result("huge", validation=[[1e30, -math.inf]], test=[[1e30, -math.inf]])
    trials = tuple(
        {"setting": {"learning_rate": r}, "steps": s, "score": r} for r, s in [(0.1, 5), (0.2, 9)]
    )
    searched = result("s", validation=[[0.5, 0.6]], test=[[0.5, 0.6]], trials=trials)
    return [
        comparison(*lower, lower_is_better=True),
        comparison(*lower, lower_is_better=True, percent=True),
        comparison(lost),
        comparison(lost, huge, percent=True),
        comparison(huge, lost, *lower, lower_is_better=True),
        comparison(searched, search={"budget": 3}),
        comparison(result("one", validation=[[0.5]], test=[[0.5]]), planned=("one", "two")),
    ]


@pytest.mark.parametrize("index", range(7))
def test_a_page_can_be_made_of_odd_results(index: int) -> None:
    c = odd_cases()[index]
    parsed = Parsed(page(c))
    assert c.task in parsed.text
    assert ("unfinished" in parsed.text) == (not c.complete)
    assert Parsed(c._repr_html_() or "").text


def test_less_is_better_where_the_task_says_so() -> None:
    lower, *_ = odd_cases()
    assert [r.name for r in lower.ranking] == ["a", "b"]
    assert "a is first: test metric 2.5000" in Parsed(page(lower)).text
    best, worst = strips(lower)
    assert best.mean > worst.mean
    falling = np.float32([[[3.0, 2.0, 1.0], [3.0, 2.9, 2.5]]])
    r = result(
        "f", validation=[[0.0, 0.0]], test=[[0.0, 0.0]], lower_is_better=True,
        evaluated=np.array([0, 5, 10]),
    )  # fmt: skip
    r = CandidateResult(**{**vars(r), "validation": falling, "train_loss": falling})
    assert r.steps_to(2.0).tolist() == [5, math.inf]


def test_strips_are_where_the_scores_are() -> None:
    best, near, worse = strips(three())
    assert best.mean > near.mean > worse.mean
    assert best.low < best.mean < best.high
    assert all(0 <= x <= 100 for strip in (best, near, worse) for x in strip.seeds)
    assert max(best.seeds) == max(x for s in (best, near, worse) for x in s.seeds)


def test_who_fails_comes_last_and_is_named() -> None:
    broken = result(
        "broken", validation=[[0.99] * 5], test=[[0.99] * 5], final_loss=np.full((1, 5), math.inf)
    )
    c = comparison(*three().results, broken)
    assert [r.name for r in c.ranking] == ["best", "near", "worse", "broken"]
    assert "is not finite: broken on 5 of 5 seeds." in Parsed(page(c)).text


def test_a_metric_that_is_constant_is_named() -> None:
    same = [result(n, validation=[[0.5, 0.5]], test=[[0.5, 0.5]]) for n in "ab"]
    assert "is the same in every run at every step" in Parsed(page(comparison(*same))).text
    assert "is the same in every run" not in Parsed(page(three())).text

"""What notebooks show: parsed back from the HTML."""

import html.parser
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx
from gradxform import select
from gradxform.inspection.sparkline import sparkline

_VOID = {"wbr"}


class Page(html.parser.HTMLParser):
    """The text of each row, with its depth, and what is bold in it; checks the nesting."""

    def __init__(self, source):
        super().__init__()
        self.open, self.rows, self.bold, self.tags = [], [], [], []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in _VOID:
            return
        self.open.append(tag)
        if tag in ("tr", "summary"):
            self.rows.append((self.open.count("table"), ""))

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.rows or "style" in self.open or "title" in self.open:
            return
        depth, text = self.rows[-1]
        self.rows[-1] = (depth, text + data)
        if "b" in self.open:
            self.bold.append(data)

    @property
    def texts(self):
        return [(depth, " ".join(text.split())) for depth, text in self.rows if text.strip()]


def shown(value):
    return Page(value._repr_html_())


def test_arguments_that_differ_from_the_defaults_are_bold():
    page = shown(gx.adamw(1e-3, b2=0.95, mask=select.decayed))
    assert page.texts == [
        (0, "adamw(learning_rate=0.001, b2=0.95, mask=select.decayed)"),
        (1, "learning_rate0.001"),
        (1, "b10.9"),
        (1, "b20.95"),
        (1, "eps1e-08"),
        (1, "weight_decay0.01"),
        (1, "eps_root0.0"),
        (1, "bias_correctionTrue"),
        (1, "maskselect.decayed"),
        (1, "state_dtypeNone"),
    ]
    bold = ["adamw", "learning_rate", "0.001", "b2", "0.95", "mask", "select.decayed"]
    assert page.bold == bold
    assert page.tags[2][0] == "details"
    assert "open" in page.tags[2][1]


def test_groups_wrappers_and_schedules_are_nested():
    tx = gx.skip_nonfinite(
        gx.partition(
            {"head": (select.path("head/.*"), gx.adam(gx.linear_schedule(0.1, 0.0, 10)))},
            default=gx.named_chain(("clip", gx.clip_by_global_norm(1.0)), ("last", gx.sgd(0.1))),
        )
    )
    texts = shown(tx).texts
    lines = [(depth, text.partition("(")[0]) for depth, text in texts]
    assert lines[:6] == [
        (0, "skip_nonfinite"),
        (1, "inner partition"),
        (2, "groups"),
        (3, "head select.path"),
        (3, "adam"),
        (4, "learning_rate linear_schedule"),
    ]
    assert (5, "start0.1") in lines
    assert [line for line in lines if line[1].startswith(("default", "clip", "last"))] == [
        (2, "default named_chain"),
        (3, "clip clip_by_global_norm"),
        (3, "last sgd"),
    ]
    is_open = ["open" in attributes for tag, attributes in shown(tx).tags if tag == "details"]
    assert (is_open.count(True), is_open.count(False)) == (7, 1)  # only the schedule is folded


def test_a_schedule_has_a_picture_of_its_values():
    page = shown(gx.warmup(gx.linear_schedule(1e-3, 0.0, 900), 100))
    ((_, first), *_) = page.texts
    assert first.endswith("0 → 0.001 → 0 in 1,000 steps")
    points = next(attributes["points"] for tag, attributes in page.tags if tag == "polyline")
    x, y = np.array([point.split(",") for point in points.split()], float).T
    assert (x[0], x[-1]) == (1, 95)
    assert (y[0], y.min(), y[-1]) == (17, 1, 17)  # in SVG the top is 0
    assert abs(x[y.argmin()] - (1 + 94 * 100 / 1050)) <= 2
    assert len(points) < 800


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (gx.constant_schedule(0.1), "0.1 at every step"),
        (gx.cosine_decay(3e-4, 20_000, end=3e-5), "3e-4 → 3e-5 in 20,000 steps"),
        (gx.cyclic(1e-4, 1e-3, 100), "1e-4 → 0.001 → 1e-4 in 400 steps, and on"),
        (gx.one_cycle_momentum(100), "0.95 → 0.85 → 0.95 in 100 steps"),
        (gx.reduce_on_plateau(gx.linear_schedule(1.0, 0.0, 50)), "1 → 0 in 50 steps"),
        (optax.linear_schedule(1.0, 0.5, 7), "1 → 0.5 in 7 steps"),
        (lambda step: jnp.where(step < 5, 1.0, jnp.nan), "not finite at every step"),
    ],
)
def test_a_picture_says_in_words_what_it_shows(value, words):
    assert f">{words}</" in sparkline(value)


def test_dense_cycles_are_drawn_from_bottom_to_top():
    schedule = gx.warmup(gx.cyclic(1e-4, 1e-3, 10), 5000, start=1e-4)
    points = sparkline(schedule).partition('points="')[2].partition('"')[0].split()
    last = np.array([point.split(",") for point in points], float)[-40:]
    assert (last[:, 1].min(), last[:, 1].max()) == (1, 17)


def test_what_users_write_is_escaped():
    tx = gx.chain(
        gx.adam(lambda step: 1e-3),
        gx.masked(gx.sgd(0.1), select.path("<b>&'\"x.*")),
        gx.partition({"<script>alert(1)": (select.all, gx.identity())}),
    )
    source = tx._repr_html_()
    assert "<script>" not in source
    assert "&lt;script&gt;" in source
    texts = [text for _, text in Page(source).texts]
    assert any(text.startswith("learning_rate<lambda>") for text in texts)
    assert any("<b>&" in text for text in texts)


def test_selectors_and_feedbacks_are_shown_and_others_are_refused():
    page = select.path("a<b") & ~select.ndim(1) | select.decayed
    assert "<code>select.path(<wbr>&#x27;a&lt;b&#x27;) &amp; ~select" in page._repr_html_()
    assert (0, "reduce_on_plateau(value=0.1) 0.1 at every step") in shown(
        gx.reduce_on_plateau(0.1)
    ).texts
    assert "()" in gx.identity()._repr_html_()
    assert gx.to_html(gx.sgd(0.1)) == gx.sgd(0.1)._repr_html_()
    for value in (optax.sgd(0.1), 3, lambda step: step):
        with pytest.raises(TypeError, match=r"`to_html\(\.\.\.\)` shows transformations.*got"):
            gx.to_html(value)


def test_nothing_that_can_be_built_fails_to_be_shown():
    def broken(step):
        raise RuntimeError

    def traced(rate):
        source = gx.chain(gx.sgd(rate), gx.adam(gx.cosine_decay(rate, 10)))._repr_html_()
        assert Page(source).texts
        return rate

    jax.jit(traced)(0.1)
    tx = gx.chain(gx.sgd(broken), optax.scale(2.0), gx.sgd(gx.tunable(jnp.float32(0.5))))
    texts = [text for _, text in shown(tx).texts]
    assert any("<optax.GradientTransformation>" in text for text in texts)
    assert "learning_ratetunable(0.5) in the state" in texts
    mask = {f"layer_{i}": bool(i % 2) for i in range(1000)}
    assert len(gx.add_decoupled_weight_decay(0.1, mask=mask)._repr_html_()) < 5000
    assert jax.tree.map(lambda leaf: 1, gx.sgd(0.1))._repr_html_() is None  # no recipe inside


def test_the_mechanism_leaves_values_as_they_are():
    tx = gx.adam(gx.cosine_decay(1e-3, 10))
    assert pickle.loads(pickle.dumps(tx)) == tx
    assert not hasattr(tx.recipe.arguments["learning_rate"], "__dict__")

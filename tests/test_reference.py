"""The reference is built from the docstrings, and what they show and name is so."""

import ast
import builtins
import html
import inspect
import io
import json
import keyword
import re
import subprocess
import sys
import textwrap
import types
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import optax
import pytest
from catalog import PUBLIC
from flax.training.train_state import TrainState

import gradxform as gx

ROOT = Path(__file__).parent.parent
COMMAND = "-m pdoc -d google -t tests/reference --no-show-source --no-search -o reference gradxform"
SECTION = re.compile(r"^(?:Args|Attributes|References|Raises|Returns):\n(?:[ ]+.*\n?|\n)*", re.M)
CODE = re.compile(r"(?:^\n|\A)((?:^ {4}.*\n|^\n(?= {4}))+)", re.M)


def members(value):
    """A public name and, of a module or a class, what is public in it."""
    yield value
    if inspect.isclass(value) or isinstance(value, types.ModuleType):
        for name, part in vars(value).items():
            function = part.fget if isinstance(part, property) else part
            own = getattr(function, "__module__", None) in (
                getattr(value, "__module__", None),
                getattr(value, "__name__", None),
            )
            if not name.startswith("_") and inspect.isfunction(function) and own:
                yield function


DOCUMENTED = {"gradxform": gx}
for name, value in PUBLIC.items():
    for part in members(value):
        if isinstance(part, type | types.FunctionType | types.ModuleType):
            DOCUMENTED[f"{name}:{part.__name__}"] = part
            module = inspect.getmodule(inspect.unwrap(part))
            DOCUMENTED[module.__name__] = module
DOCSTRINGS = {
    name: text for name, part in DOCUMENTED.items() if (text := inspect.getdoc(part)) is not None
}
EXAMPLES = {
    f"{name}-{i}": textwrap.dedent(block)
    for name, text in DOCSTRINGS.items()
    for i, block in enumerate(CODE.findall(SECTION.sub("", text) + "\n"))
    if {*re.findall(r"\b(\w+)\(", block)} & {*PUBLIC}
    and not re.search(r"^ *\w+\(?\)?:$|^ *@\w+  ", block, re.M)  # a YAML file, and a list of names
}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    words = [str(folder) if word == "reference" else word for word in COMMAND.split()]
    command = [sys.executable, "-W", "error", *words, r"!gradxform\."]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-3000:]
    assert built.stderr == ""
    assert {path.name for path in folder.iterdir()} == {"gradxform.html", "index.html"}
    return (folder / "gradxform.html").read_text()


def test_the_public_names_are_in_the_order_of_the_modules():
    homes = [
        value.__name__ if isinstance(value, types.ModuleType) else value.__module__
        for value in PUBLIC.values()
        if isinstance(value, type | types.FunctionType | types.ModuleType)
    ]
    blocks = [home for i, home in enumerate(homes) if i == 0 or home != homes[i - 1]]
    assert len({*blocks}) == len(blocks), "a module's names stand together"


def test_every_public_name_has_its_entry_and_a_way_to_it(page):
    for name, value in PUBLIC.items():
        assert len(re.findall(rf'<li><a class="\w+" href="#{name}">', page)) == 1, name
        if isinstance(value, types.ModuleType):
            parts = [x.__name__ for x in members(value) if inspect.isfunction(x)]
            assert parts
            assert [x for x in parts if f'<section id="{name}.{x}">' not in page] == []
        else:
            entry = page.split(f'<section id="{name}">')[1].split("</section>")[0]
            text = html.unescape(re.sub(r"<[^>]+>", "", entry))
            assert name in text
            if isinstance(value, type | types.FunctionType) and value is not Any:
                first = re.sub("`", "", inspect.getdoc(value).split("\n\n")[0])
                assert " ".join(first.split()) in " ".join(text.split())


def test_the_page_has_no_broken_markup(page):
    main = re.sub(r"<pre>.*?</pre>", "", page.split("<main", 1)[1], flags=re.S)
    shown = re.sub(r"<code>.*?</code>", "", main, flags=re.S)
    assert re.findall(r".{30}(?:`|&lt;/?(?:p|pre|code|ul|li)&gt;).{30}", shown) == []
    # A product or `*args` that was read as emphasis.
    assert re.findall(r"\w<em>.*?</em>|<em>[^<]*[^\w <][^<]*</em>|</em>\w", shown) == []
    assert "typing.Annotated" not in page
    assert "object at 0x" not in page
    anchors = {*re.findall(r'\bid="([^"]+)"', page)}
    assert {*re.findall(r'href="#([^"]+)"', page)} <= anchors


def test_backticks_are_closed():
    parts = [(name, part) for name, text in DOCSTRINGS.items() for part in text.split("\n\n")]
    assert [(name, part) for name, part in parts if part.count("`") % 2] == []


# What the docstrings name of other libraries, of a user's program, and of the metrics.
FOREIGN = re.findall(
    r"\w+",
    """
    Adam MultiStepLR NAdam OneCycleLR PolynomialLR ReduceLROnPlateau StepLR batch_stats
    check_vma clip_grad_norm_ div_factor eps_in_sqrt eps_root equinox final_div_factor lr nnx
    pct_start pip initial_scale rich stepsize transition_begin clip_fraction fractions
    gradient_norm loss_scale
    nonfinite_fraction param_norm update_cosine update_norm update_ratio validation_loss
    zero_fraction
""",
)


def test_names_in_backticks_are_names_of_something():
    known = {*FOREIGN, *dir(builtins), *dir(jax), *dir(optax), *keyword.kwlist}
    for path in (ROOT / "gradxform").rglob("*.py"):
        known |= {path.stem, path.parent.name}
        for node in ast.walk(ast.parse(path.read_text())):
            for field in ("id", "attr", "arg", "name"):
                known |= {str(getattr(node, field, None))}
    unknown = {
        (name, span)
        for name, text in DOCSTRINGS.items()
        for span in re.findall(r"`([^`]+)`", text)
        if (word := re.match(r"([A-Za-z_]\w*)(?=[(\s,=)\].]|$)", span)) and word[1] not in known
    }
    assert unknown == set()


def test_what_a_docstring_refers_to_is_public():
    for name, text in DOCSTRINGS.items():
        home = sys.modules[getattr(DOCUMENTED[name], "__module__", DOCUMENTED[name].__name__)]
        assert {*re.findall(r"\bsee\s+`(\w+)`", text)} <= {*PUBLIC, *dir(home)}, name


@pytest.mark.parametrize("name", EXAMPLES)
def test_calls_in_examples_fit_the_signatures(name):
    code = EXAMPLES[name]
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and (called := ast.unparse(node.func).removeprefix("gx.")):
            if called in PUBLIC:
                arguments = [None] * len(node.args)
                keywords = {word.arg: None for word in node.keywords}
                inspect.signature(PUBLIC[called]).bind(*arguments, **keywords)
            elif ast.unparse(node.func).startswith("gx."):
                pytest.fail(f"`{called}` is not public")


def stand_ins(name):
    """What an example takes from the program that it is a part of."""
    params = {"w": jnp.ones((3,)), "b": jnp.zeros(()), "head": {"w": jnp.ones(1024)}}
    x = np.linspace(-1.0, 1.0, 300, dtype=np.float32).reshape(100, 3)
    batch = (x[:8], x[:8, 0])
    params = params["w"] if name == "has_updated" else params  # as in its example
    tx = {
        "has_updated": gx.accumulate(gx.sgd(0.1), 2),
        "scale_by_sophia": gx.sophia(0.1),
    }.get(name, gx.adam(1e-3))

    def loss_fn(params, batch=batch):
        x, y = batch
        return jnp.mean(jnp.square(x @ params["w"] + params["b"] - y))

    @jax.jit
    def step(params, state, batch):
        loss, grads = jax.value_and_grad(loss_fn)(params, batch)
        updates, state = tx.update(grads, state, params)
        return gx.apply_updates(params, updates), state, loss

    state = tx.init(params)
    if name == "apply_gradients":
        state = TrainState.create(apply_fn=None, params=params, tx=tx)
    return {
        **PUBLIC,
        **{"gx": gx, "jax": jax, "jnp": jnp, "json": json, "x": x, "y": x[:, 0]},
        **{"params": params, "batch": batch, "tx": tx, "loss_fn": loss_fn, "step": step},
        "state": state,
        "T": 100,
        "average": jnp.zeros(3),
        "batches": [batch] * 2,
        "checkpoint": {"opt_state": optax.adam(1e-3).init(params)},
        "evaluate": loss_fn,
        "file": io.StringIO(),
        "grads": jax.tree.map(jnp.ones_like, params),
        "loss": loss_fn,
        "losses": [3.0, 2.0, 1.0],
        "mesh": jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,)),
        "norms": [1.0, 1.0, 1.0],
        "optimizer": tx,
        "update": partial(tx.update, key=jax.random.key(0)) if name.endswith("sophia") else None,
        "validation_loss": 1.0,
    }


@pytest.mark.parametrize("name", [name for name in EXAMPLES if "compare" not in EXAMPLES[name]])
def test_examples_run(name):
    # Training two networks as `compare` and `tune` do takes longer, and is done elsewhere.
    code = EXAMPLES[name].replace("{...}", "{}")
    code = re.sub(r"^(tx = .*)$", r"\1\nstate = tx.init(params)", code, flags=re.M)
    code = re.sub(r"^\.\.\.$", "file.seek(0)", code, flags=re.M)
    matplotlib.use("agg")
    try:
        exec(compile(code, name, "exec"), stand_ins(name.split(":")[0]))
    finally:
        plt.close("all")


def test_the_readme_holds_the_command() -> None:
    assert f"python -W error {COMMAND}" in (ROOT / "README.md").read_text()

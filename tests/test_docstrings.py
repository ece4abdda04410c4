"""Docstrings say what the code does: bytes of state, arguments, sources."""

import functools
import inspect
import math
import re

import pytest
from catalog import CATALOG, FUNCTIONS, SCHEDULES

import gradxform as gx

BLOCKS = [row for row in CATALOG if row.kind == "block"]
OPTIMIZERS = [row for row in CATALOG if row.kind == "optimizer"]
STATEFUL = [row for row in BLOCKS + OPTIMIZERS if row.state_bytes >= 1]


def documented_bytes(text: str) -> set[float]:
    """The bytes of state per parameter that a docstring may mean, sums of its terms included."""
    numbers = [float(n) for n in re.findall(r"(\d+)(?: or \d+)? (?:bytes|more)", text)]
    numbers += [float(n) for n in re.findall(r"or (\d+) bytes", text)]
    sums = set(numbers)
    for number in numbers:
        sums |= {s + number for s in sums}
    return sums


@pytest.mark.parametrize("row", STATEFUL, ids=str)
def test_the_bytes_of_state_are_those_that_the_docstring_states(row):
    # That `state_bytes` is what `init` allocates is a law, tested over every row. Factors, which
    # are a part of a byte a parameter, are stated by their formula.
    text = " ".join(inspect.getdoc(row.factory).split())
    assert re.search("a(nother)? parameter", text)
    assert math.floor(row.state_bytes) in documented_bytes(text), sorted(documented_bytes(text))


@pytest.mark.parametrize("row", [*CATALOG, *SCHEDULES], ids=str)
def test_every_argument_is_explained_or_its_owner_named(row):
    factory = getattr(gx, row.name)
    text = inspect.getdoc(factory)
    owners = [getattr(gx, name) for name in re.findall(r"see\s+`(\w+)`", text)]
    explained = " ".join([text, *map(inspect.getdoc, owners)])
    shared = {"learning_rate"}
    for name in set(inspect.signature(factory).parameters) - shared:
        assert re.search(rf"`{name}`|^\s*\*?{name}:", explained, re.M), name


@pytest.mark.parametrize("row", [*BLOCKS, *OPTIMIZERS], ids=str)
def test_every_paper_of_the_table_is_named_where_the_mathematics_is(row):
    links = re.findall(r"\((https?://\S+?)\)(?:$|\s|;|,)", row.paper + " ")
    parts = [row.build(), *row.build().parts]
    modules = {inspect.getmodule(part.recipe.factory) for part in parts if hasattr(part, "recipe")}
    sources = " ".join(inspect.getsource(module) for module in modules)
    for link in links:
        assert link in sources, link


def public(name):
    """A public function by its name in the catalog, such as `select.path`, as it was written."""
    return inspect.unwrap(functools.reduce(getattr, name.split("."), gx))


HELPERS = [
    f"{module.__name__.rpartition('.')[2]}.{name}"
    for module in (gx.tree, gx.numerics)
    for name, x in vars(module).items()
    if inspect.isfunction(x) and x.__module__ == module.__name__ and not name.startswith("_")
]


@pytest.mark.parametrize("name", [*FUNCTIONS, *HELPERS])
def test_every_argument_of_a_function_is_named_where_it_is_explained(name):
    function, helps = public(name), name in HELPERS
    text = inspect.getdoc(function)
    for argument in inspect.signature(function).parameters:
        formula = rf"|\b{argument}\b" if helps else ""  # |x|^2 explains its x
        listed = rf"`{argument}`|^\s*\*{{0,2}}{argument}:"
        assert re.search(listed + formula, text, re.M), argument


FACTORIES = {row.name: None for row in (*CATALOG, *SCHEDULES)}  # each once


@pytest.mark.parametrize("name", [*FUNCTIONS, *FACTORIES])
def test_what_a_function_raises_by_itself_is_said(name):
    # That arguments are refused by the rules in their annotations is said once, for the package.
    source = inspect.getsource(public(name)).split('"""', 2)[2]
    if re.search(r"\braise [A-Z]|check\.(fail|require)\(", source):
        assert re.search(r"^Raises:|raises? an? `?\w+Error", inspect.getdoc(public(name)), re.M)

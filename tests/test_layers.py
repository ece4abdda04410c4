"""The layout: imports go strictly down, only public JAX is used, and nothing grows too long."""

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from catalog import CATALOG, FUNCTIONS, PUBLIC, SCHEDULES

import gradxform as gx
from gradxform.core import public
from gradxform.core.hyperparams import Feedback
from gradxform.core.recipe import written
from gradxform.core.schedule import StepFunction

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "gradxform"
FOLDERS = (
    "core",
    "schedules",
    "transforms",
    "wrappers",
    "optimizers",
    "placement",
    "inspection",
    "training",
    "comparison",
)
PRIVATE = ("jax._src", "jax.core", "jax.interpreters", "jaxlib", "optax._src")
LONGEST = 600  # lines: a file is one idea, whatever its length up to about here
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """The full names of what a file imports, wherever in it."""
    package = name_of(path).split(".")
    package = package if path.name == "__init__.py" else package[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def own_imports(path: Path) -> set[str]:
    """The modules of the package that a file imports."""
    known = {name_of(module) for module in MODULES}
    found = set()
    for name in imports(path):
        while name not in known and "." in name:
            name = name.rpartition(".")[0]
        if name in known - {name_of(path)}:
            found.add(name)
    return found


def layer(module: str) -> int:
    """How high a module stands; what is in no folder stands above all."""
    parts = module.split(".")
    return FOLDERS.index(parts[1]) if len(parts) > 1 and parts[1] in FOLDERS else len(FOLDERS)


def test_the_package_has_these_folders_and_no_others() -> None:
    folders = {path.parts[len(PACKAGE.parts)] for path in MODULES if path.parent != PACKAGE}
    assert folders <= set(FOLDERS)
    assert {"core", "schedules", "transforms", "wrappers", "optimizers"} <= folders


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down(path: Path) -> None:
    here = name_of(path)
    for other in own_imports(path):
        assert layer(other) <= layer(here), f"{here} imports {other}, which stands above it"
    if layer(here) < len(FOLDERS):
        assert "gradxform" not in own_imports(path), "the package imports its parts, not they it"


def test_no_module_imports_itself_through_others() -> None:
    below = {name_of(path): own_imports(path) for path in MODULES}

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        left = list(below[start])
        while left:
            module = left.pop()
            if module not in seen:
                seen.add(module)
                left += below[module]
        return seen

    assert [module for module in below if module in reached(module)] == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_public_jax_is_used(path: Path) -> None:
    used = [
        name
        for name in imports(path)
        if any(name == private or name.startswith(f"{private}.") for private in PRIVATE)
    ]
    assert used == []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            assert ast.unparse(node) not in PRIVATE


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path.name == "__init__.py"], ids=name_of
)
def test_a_package_holds_no_logic(path: Path) -> None:
    allowed = (ast.Import, ast.ImportFrom)
    nodes = ast.parse(path.read_text()).body
    hidden = [x for x in nodes if isinstance(x, ast.If) and "TYPE_CHECKING" in ast.unparse(x.test)]
    for node in [*(x for x in nodes if x not in hidden), *(y for x in hidden for y in x.body)]:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_version = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in (
            "__version__",
            "__all__",
        )
        assert isinstance(node, allowed) or is_docstring or is_version, ast.unparse(node)


def test_files_stay_short() -> None:
    files = [
        path
        for folder in ("gradxform", "tests", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if path != PACKAGE / "__init__.py"  # the list of public names
    ]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    assert {name: n for name, n in lengths.items() if n > LONGEST} == {}


def factories(result: type) -> set[str]:
    """The public functions whose signature says that they return this type."""
    return {
        name
        for name, value in PUBLIC.items()
        if inspect.isfunction(value) and inspect.signature(value).return_annotation is result
    }


def test_the_catalog_is_what_is_public() -> None:
    assert factories(gx.GradientTransformation) == {row.name for row in CATALOG}
    assert factories(StepFunction) == {row.name for row in SCHEDULES}
    listed = {row.name for row in (*CATALOG, *SCHEDULES)} | {*FUNCTIONS}
    functions = {name for name, x in PUBLIC.items() if inspect.isfunction(x)}
    assert functions <= listed
    assert {name for name in FUNCTIONS if "." not in name} <= functions


def test_type_checkers_see_the_public_names_where_they_are_imported_from() -> None:
    nodes = ast.walk(ast.parse((PACKAGE / "__init__.py").read_text()))
    imported = [
        (alias, node.module)
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if not str(alias.asname).startswith("_")
    ]
    assert [alias.name for alias, _ in imported if alias.asname != alias.name] == []
    assert {alias.name: module for alias, module in imported} == public.NAMES
    assert len(imported) == len(public.NAMES)
    assert gx.__all__ == [*public.NAMES]
    assert {name for name in dir(gx) if not name.startswith("__")} == {*gx.__all__}


def test_the_table_holds_every_factory_of_the_package() -> None:
    parts = (gx.GradientTransformation, StepFunction, gx.Selector, Feedback, gx.Length)
    made = {
        written(value)
        for path in MODULES
        for value in vars(importlib.import_module(name_of(path))).values()
        if inspect.isfunction(value) and "__signature__" in vars(value)
        if inspect.signature(value).return_annotation in parts
    }
    assert {*public.FACTORIES} == made
    for name in public.FACTORIES:
        assert public.factory_name(public.factory(name)) == name


def test_one_module_imports_by_name() -> None:
    """What stands below finds what stands above in one place, by the names of its table."""

    def names(path: Path) -> set[str]:
        nodes = [*ast.walk(ast.parse(path.read_text()))]
        used = {node.id for node in nodes if isinstance(node, ast.Name)}
        return used | {node.attr for node in nodes if isinstance(node, ast.Attribute)}

    by_name = {"import_module", "__import__", "exec", "eval", "run_module"}
    found = {name_of(path) for path in MODULES if by_name & names(path)}
    assert found == {"gradxform.core.public"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_can_be_imported_and_says_what_it_is(path: Path) -> None:
    assert importlib.import_module(name_of(path)).__doc__


def test_the_version_is_a_fact_of_the_source() -> None:
    """A vendored copy has no installed metadata: it imports, and says which version it is."""
    program = """
from importlib import metadata
installed = metadata.version
def version(name):
    if name == "gradxform":
        raise metadata.PackageNotFoundError(name)
    return installed(name)
metadata.version = version
import gradxform, gradxform.__main__ as command
assert gradxform.__version__.count(".") == 2
command.main(["--version"])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"gradxform {gx.__version__}\n"

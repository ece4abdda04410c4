"""What is imported when: nothing that is not asked for, and all that is, in a fresh interpreter."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

from catalog import CATALOG, SCHEDULES

import gradxform as gx
from gradxform.core import public

TESTS = Path(__file__).parent


def imported_by(program: str, *arguments: str) -> set[str]:
    """The modules that a program in a process of its own imports beside JAX, NumPy and Optax."""
    told = f"""
import sys, jax, numpy, optax, json, pickle
before = {{*sys.modules}}
{program}
print(*sorted({{*sys.modules}} - before))
"""
    command = [sys.executable, "-c", told, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=TESTS)
    assert done.returncode == 0, done.stderr
    return {*done.stdout.split()}


def own(modules: set[str]) -> set[str]:
    return {name for name in modules if name.partition(".")[0] == "gradxform"}


def folders(modules: set[str]) -> set[str]:
    return {name.split(".")[1] for name in modules if name.startswith("gradxform.")}


def test_the_package_imports_what_every_optimizer_is_made_with() -> None:
    found = imported_by("import gradxform")
    assert folders(found) == {"core"}
    assert len(own(found)) <= 40
    others = {name.partition(".")[0] for name in found} - {"gradxform", "jax", "numpy", "optax"}
    assert others <= {*sys.stdlib_module_names}
    assert not others & {"argparse", "html", "http", "unittest"}


def test_an_optimizer_imports_what_it_is_made_of() -> None:
    found = imported_by("import gradxform; gradxform.adamw(1e-3)")
    assert folders(found) == {"core", "transforms", "wrappers", "optimizers"}
    assert "gradxform.transforms.adam" in found
    assert "gradxform.transforms.mars" not in found
    assert len(own(found)) <= 60


def test_what_only_some_need_is_imported_for_them() -> None:
    names = "compare", "tune", "plot_run", "plot_schedule", "diagnose", "to_html"
    asked = ", ".join(f"gradxform.{name}" for name in names)
    found = imported_by(f"import gradxform; {asked}")
    assert {"comparison", "inspection"} <= folders(found)
    heavy = {"matplotlib", "rich", "jinja2", "msgspec", "optuna", "scipy", "sklearn", "yaml"}
    assert not heavy & {name.partition(".")[0] for name in found}
    assert "gradxform.comparison.command" not in found


def test_a_notebook_shows_a_value_of_which_nothing_else_was_asked() -> None:
    program = """
import gradxform
shown = gradxform.sgd(0.1)._repr_html_()
assert shown.startswith('<div class="gradxform">') and "sgd" in shown, shown
"""
    assert "gradxform.inspection.html" in imported_by(program)


def test_a_star_imports_every_public_name() -> None:
    program = f"""
from gradxform import *
missing = {{*{gx.__all__!r}}} - {{*globals()}}
assert not missing, missing
assert repr(eval("adamw(0.1, mask=select.decayed)")) == repr(adamw(0.1, mask=select.decayed))
"""
    assert "gradxform.comparison.compare" in imported_by(program)


def test_a_configuration_of_every_row_is_read_by_a_fresh_interpreter(tmp_path: Path) -> None:
    rows = [
        tx for row in CATALOG if "function()" not in json.dumps(gx.to_config(tx := row.build()))
    ]
    rows += [gx.sgd(row.build()) for row in SCHEDULES]
    told = [(gx.to_config(tx), repr(tx)) for tx in rows]
    (tmp_path / "rows.json").write_text(json.dumps(told))
    program = """
import gradxform
names = {*gradxform.available()}
assert not [name for name in sys.modules if name.startswith("gradxform.transforms")]
with open(sys.argv[1]) as file:
    for config, text in reversed(json.load(file)):
        assert repr(gradxform.from_config(config)) == text
        assert text.partition("(")[0] in names
"""
    imported_by(program, str(tmp_path / "rows.json"))


def test_a_pickle_of_every_row_is_read_by_a_fresh_interpreter(tmp_path: Path) -> None:
    rows = [row.build() for row in (*CATALOG, *SCHEDULES)] + [gx.reduce_on_plateau(0.1)]
    told = [(pickle.dumps(made), repr(made)) for made in rows]
    (tmp_path / "rows.pickle").write_bytes(pickle.dumps(told))
    program = """
with open(sys.argv[1], "rb") as file:
    for pickled, text in reversed(pickle.load(file)):
        assert repr(pickle.loads(pickled)) == text
"""
    found = imported_by(program, str(tmp_path / "rows.pickle"))
    assert {f"gradxform.{module}" for module in public.FACTORIES.values()} <= found


def test_an_unknown_name_in_a_configuration_imports_nothing() -> None:
    program = """
import gradxform
gradxform.from_config
read = {*sys.modules}
for name in ("no_factory", "compare", "os.system", "core.select", "select.compile"):
    try:
        gradxform.from_config({"version": 1, "transformation": {f"{name}()": {}}})
    except ValueError as error:
        assert f"no `{name}`" in str(error), error
    else:
        raise AssertionError(name)
assert not [name for name in {*sys.modules} - read if name.startswith("gradxform")]
"""
    assert folders(imported_by(program)) == {"core", "inspection"}


def test_a_hyperparameter_out_of_range_is_refused_whatever_was_imported() -> None:
    """Also of a state that a checkpoint returned as plain dicts, of which no class is known."""
    program = """
import gradxform
state = {"count": numpy.int32(3), "hyperparams": {}, "tunables": {"b2": numpy.float32(0.9)},
         "feedback": {}, "log_kept": {}, "inner_state": {}}
try:
    gradxform.set_hyperparams(state, b2=1.5)
except ValueError as error:
    assert "b2" in str(error), error
else:
    raise AssertionError("not refused")
"""
    imported_by(program)

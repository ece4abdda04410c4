"""The benchmark programs run and write complete rows. No test looks at a time."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import jax
import matplotlib.image
import numpy as np
import pytest
from catalog import CATALOG

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
PROGRAMS = ("step_time", "compile_time", "memory", "dispatch")
SPREAD = {"min", "q1", "median", "q3"}

COMMON = {
    "benchmark", "tree", "arrays", "parameters", "dtype", "versions", "machine", "load",
    "optimizer", "contender", "what", "device",
}  # fmt: skip
MEMORY = {
    "argument_bytes", "output_bytes", "alias_bytes", "temp_bytes", "peak_bytes", "copies",
    "copied_bytes", "fusions", "arrays_in", "arrays_out",
}  # fmt: skip
KEYS = {
    "step_time": {
        "ms", "all_ms", "ratio", "ratio_to", "repeats", "steps", "others", "gb_per_s",
        "least_bytes", "bandwidth_gb_per_s", "difference", "tolerance", "agrees", "differs",
        *MEMORY,
    },
    "compile_time": {
        "trace_s", "lower_s", "compile_s", "trace_cpu_s", "lower_cpu_s", "compile_cpu_s",
        "trace_lower_ratio", "trace_lower_cpu_ratio", "ratio", "cpu_ratio", "ratio_to",
        "program_bytes", "repeats",
    },
    "memory": MEMORY,
    "dispatch": {
        "call_us", "returns_us", "empty_us", "ratio", "ratio_to", "calls", "repeats",
        "arrays_in", "arrays_out", "fusions",
    },
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def modules():
    """The programs can be imported, as from their own folder."""
    names = {path.stem for path in BENCHMARKS.glob("*.py")}
    before = {name: sys.modules.pop(name) for name in names & sys.modules.keys()}
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module
    sys.path.remove(str(BENCHMARKS))
    for name in names & sys.modules.keys():
        del sys.modules[name]
    sys.modules.update(before)


@pytest.fixture
def here(modules, monkeypatch):
    """Contenders in this process, in the place of one for each."""
    processes, worker = modules("processes"), modules("worker")
    monkeypatch.setattr(worker, "_set_up_jax", lambda device: None)

    class Here:
        def __init__(self, contender, options, **setting):
            self.name = contender
            self.worker = worker.Worker(
                {"contender": contender, "device": options.device, **setting}
            )

        def tell(self, do, **details):
            self.answer = json.dumps(getattr(self.worker, do)(**details))

        def hear(self):
            return json.loads(self.answer)

        def ask(self, do, **details):
            self.tell(do, **details)
            return self.hear()

        def stop(self):
            pass

    for name in PROGRAMS:
        monkeypatch.setattr(modules(name), "Worker", Here)
    monkeypatch.setattr(worker, "LEAST_BANDWIDTH_SIZE", 1024)
    return processes


def run(modules, monkeypatch, program, arguments):
    monkeypatch.setattr(sys, "argv", [program, *arguments.split()])
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):  # as users run
        modules(program).main()


def complete(row):
    of_program = MEMORY if row["contender"].startswith("torch-") else set()
    assert row.keys() >= COMMON | KEYS[row["benchmark"]] - of_program
    assert {"python", "jax", "optax", "gradxform"} <= row["versions"].keys()
    assert "/" not in json.dumps(row["machine"])
    for name in KEYS[row["benchmark"]] & {"ms", "ratio", "trace_s", "call_us", "empty_us"}:
        assert row[name].keys() == SPREAD


def test_step_time_in_processes(tmp_path):
    out = tmp_path / "rows.json"
    arguments = "--tree tiny --contenders gradxform,optax --repeats 1 --steps 1 --optimizer"
    program = [sys.executable, str(BENCHMARKS / "step_time.py"), *arguments.split()]
    done = subprocess.run(
        [*program, "clip-adamw,lion", "--out", str(out)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "| gradxform |" in done.stdout
    rows = json.loads(out.read_text())
    assert [(row["optimizer"], row["contender"]) for row in rows] == [
        (optimizer, contender)
        for optimizer in ("clip-adamw", "lion")
        for contender in ("gradxform", "optax")
    ]
    for row in rows:
        complete(row)
        assert row["agrees"]
        assert row["difference"] <= row["tolerance"]


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("step_time", "--contenders gradxform,by-hand --optimizer adamw --repeats 2 --steps 1"),
        ("compile_time", "--contenders gradxform --repeats 1"),
        ("memory", "--contenders optax,optax-usual --optimizer adamw"),
        ("dispatch", "--contenders optax --repeats 1 --calls 2"),
    ],
    ids=PROGRAMS,
)
def test_rows_are_complete(program, arguments, modules, here, monkeypatch, tmp_path, capsys):
    out = tmp_path / "rows.json"
    run(modules, monkeypatch, program, f"--tree tiny {arguments} --out {out}")
    rows = json.loads(out.read_text())
    assert {row["benchmark"] for row in rows} == {program}
    for row in rows:
        complete(row)
    if program == "memory":  # the usual order copies, the other does not
        assert [row["copies"] > 0 for row in rows] == [False, True]
        assert rows[0]["alias_bytes"] >= 3 * 4 * rows[0]["parameters"]
    shown = "".join(map(modules("report").markdown, modules("report").tables(rows)))
    assert all(f"| {row['contender']} |" in shown for row in rows)


def test_imports(modules, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(
        modules("compile_time"), "import_seconds", lambda statement: {"wall": 2.0, "cpu": 1.0}
    )
    out = tmp_path / "rows.json"
    run(modules, monkeypatch, "compile_time", f"--imports --repeats 1 --out {out}")
    for row in json.loads(out.read_text()):
        assert row["extra_s"]["median"] == 0
        assert row["seconds"]["median"] == 2


@pytest.mark.parametrize("program", [*PROGRAMS, "report", "figure", "blocked_loop"])
def test_help(program, modules, monkeypatch, capsys):
    with pytest.raises(SystemExit) as end:
        run(modules, monkeypatch, program, "--help")
    assert end.value.code == 0
    assert "usage" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("program", "arguments", "message"),
    [
        ("step_time", "--tree bush", "--tree: no bush; there are resnet50"),
        ("step_time", "--optimizer adamw,sdg", "--optimizer: no sdg; there are adabelief"),
        ("step_time", "--contenders optac", "--contenders: no optac; there are gradxform"),
        ("step_time", "--repeats 0", "--repeats: must be at least 1, is 0"),
        ("compile_time", "--contenders torch-fused --torch-python x", "torch compiles nothing"),
        ("memory", "--contenders torch-fused --torch-python x", "no program that states"),
        ("figure", "tests/catalog.py", "holds no rows"),
    ],
)
def test_wrong_arguments(program, arguments, message, modules, monkeypatch, capsys, tmp_path):
    if program == "figure":
        (tmp_path / "rows.json").write_text('[{"benchmark": "memory"}]')
        arguments = str(tmp_path / "rows.json")
    with pytest.raises(SystemExit) as end:
        run(modules, monkeypatch, program, arguments)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


# What the programs compare


def test_the_trees_are_those_of_the_models(modules):
    shapes = modules("shapes")
    counted = {name: (len(tree), shapes.size(tree)) for name, tree in shapes.SHAPES.items()}
    assert counted["resnet50"] == (161, 25_557_032)
    assert counted["vit"] == (152, 86_567_656)
    assert counted["gpt2"] == (148, 124_439_808)
    assert (len(shapes.llama()), shapes.size(shapes.llama())) == (291, 8_030_261_248)
    assert counted["llama-4-layers"] == (39, 1_923_125_248)
    assert counted["llama-narrow"][0] == 291
    assert counted["many"] == (1000, 64_000)
    assert counted["one"] == (1, 50_000_000)
    short = [shape for shape in shapes.resnet50().values() if np.prod(shape) < 4096]
    assert (len(short), sum(map(np.prod, short))) == (107, 54_120)


def test_every_optimizer_of_the_catalog_has_a_pair_or_a_reason(modules):
    optimizers = modules("optimizers")
    pairs = {name.partition("-")[0] for name in optimizers.PAIRS}
    assert not pairs & optimizers.WITHOUT_COUNTERPART.keys()
    named = {row.name for row in CATALOG if row.kind == "optimizer"}
    assert pairs | optimizers.WITHOUT_COUNTERPART.keys() == named


def test_a_difference_is_seen(modules):
    """Of one element among many, and of one array among all; NaN is as far as can be."""
    problem, shapes = modules("problem"), modules("shapes").SHAPES["tiny"]
    before = problem.parameters(shapes)
    right = {name: p - 1e-3 for name, p in before.items()}
    ours = problem.sampled_changes(shapes, right.__getitem__)
    assert problem.distance(ours, ours) == 0
    for value in (1.0, np.nan):
        wrong = {name: p.copy() for name, p in right.items()}
        np.ravel(next(iter(wrong.values())))[3] = value
        theirs = problem.sampled_changes(shapes, wrong.__getitem__)
        assert not problem.distance(theirs, ours) <= problem.TOLERANCE
        assert not problem.distance_from_adamw(shapes, wrong.__getitem__, clip=False) <= 0.5


# What is saved


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("results/*.json")), ids=lambda p: p.stem)
def test_saved_rows_are_complete(path):
    saved = json.loads(path.read_text())
    assert saved
    for row in saved:
        if row["benchmark"] in KEYS:
            complete(row)
        assert row.get("agrees", True), row["contender"]


def test_the_readme_shows_the_saved_rows(modules):
    text = (BENCHMARKS / "README.md").read_text()
    assert text == modules("report").filled(text), "run `python benchmarks/report.py --readme`"


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("results/*.png")), ids=lambda p: p.stem)
def test_the_picture_fits(path):
    height, width, _ = matplotlib.image.imread(path).shape
    assert 600 <= width <= 1000
    assert height <= 1200
    assert path.stat().st_size < 200_000

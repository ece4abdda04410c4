"""The planning page's numbers are those of arrays on real devices, and the page is up to date."""

import math
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import gradxform as gx

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SHAPES = {"table": (260, 64), "layers/q": (2, 64, 128), "norm": (64,), "scale": (3, 500)}


@pytest.fixture(scope="module")
def planning():
    before = {name: sys.modules.pop(name, None) for name in ("planning", "shapes")}
    sys.path.insert(0, str(BENCHMARKS))
    import planning

    yield planning
    sys.path.remove(str(BENCHMARKS))
    for name, module in before.items():
        del sys.modules[name]
        if module is not None:
            sys.modules[name] = module


def on_first_device(tree):
    return sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(tree))


@pytest.mark.parametrize("layout", ["replicated", "ZeRO-1", "fully sharded"])
@pytest.mark.parametrize(
    ("tx", "dtype"),
    [
        (gx.adamw(1e-3), "float32"),
        (gx.master_weights(gx.adafactor(1e-2, min_dim_size_to_factor=32)), "bfloat16"),
    ],
    ids=["adamw", "adafactor"],
)
def test_a_plan_is_what_arrays_take(planning, tx, dtype, layout):
    mesh = jax.make_mesh((8,), ("data",))
    plan = planning.plan(tx, SHAPES, dtype, mesh, layout)
    places = planning.params_of(SHAPES, dtype, mesh, layout)
    params = {
        name: jax.device_put(jnp.ones(shape, dtype), places[name].sharding)
        for name, shape in SHAPES.items()
    }
    shardings = gx.state_sharding(tx, params, mesh, "data" if layout == "ZeRO-1" else None)
    state = jax.jit(tx.init, out_shardings=shardings)(params)
    assert plan.params == plan.gradients == on_first_device(params)
    assert plan.state == on_first_device(state)
    whole = sum(p.nbytes for p in params.values())
    if layout == "fully sharded":
        kept = sum(p.nbytes for p in params.values() if p.sharding.is_fully_replicated)
        assert kept == params["norm"].nbytes + params["scale"].nbytes  # nothing divides 3 by 500
        assert plan.sent == pytest.approx((3 * (whole - kept) + 2 * kept) * 7 / 8)
    else:
        assert plan.sent == pytest.approx(2 * whole * 7 / 8)
    there = planning.plan(tx, SHAPES, dtype, planning.mesh_of(8), layout)
    assert there == plan  # without devices


def test_the_models_have_as_many_parameters_as_published(planning):
    counts = {
        name: sum(map(math.prod, shapes.values())) for name, shapes in planning.MODELS.items()
    }
    assert counts == {"Llama 3 8B": 8_030_261_248, "Llama 3 70B": 70_553_706_496}


def test_the_page_is_what_the_program_writes(planning):
    assert planning.PAGE.read_text() == planning.page()

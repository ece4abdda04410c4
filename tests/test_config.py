"""Configurations: every transformation as plain data and back, and what bad data is answered."""

import functools
import json
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import yaml
from catalog import CATALOG, SCHEDULES, Row, ScheduleRow
from problems import assert_equal, every_row, follow, gradients, small
from rows import row as functions_of_rows

import gradxform as gx
from gradxform import select

FUNCTIONS = {
    name: x for name, x in vars(functions_of_rows).items() if callable(x) and name[0] != "_"
}


def through_json(tx: gx.GradientTransformation, **options: Any) -> gx.GradientTransformation:
    data = gx.to_config(tx, **options)
    return gx.from_config(json.loads(json.dumps(data)), functions={**FUNCTIONS, **options})


@every_row
def test_every_transformation_goes_through_json(row: Row) -> None:
    tx = row.build()
    again = through_json(tx)
    assert again == tx
    assert repr(again) == repr(tx)
    assert hash(again) == hash(tx)


@pytest.mark.parametrize("row", SCHEDULES, ids=str)
def test_every_schedule_goes_through_yaml(row: ScheduleRow) -> None:
    tx = gx.sgd(row.build())
    data = yaml.safe_load(yaml.safe_dump(gx.to_config(tx)))
    assert gx.from_config(data) == tx


def test_the_same_trajectory() -> None:
    tx = gx.chain(
        gx.clip_by_global_norm(0.5),
        gx.partition(
            {"w": (select.path("w"), gx.adamw(gx.warmup(gx.cosine_decay(0.1, 5), 2), b1=0.8))},
            default=gx.sgd(gx.reduce_on_plateau(0.1, patience=0), momentum=gx.tunable(0.9)),
        ),
    )
    params = small()
    grads = gradients(params, steps=4)
    extra = {"value": np.float32(1.0)}
    assert_equal(follow(through_json(tx), params, grads, extra), follow(tx, params, grads, extra))


def test_what_is_written() -> None:
    tx = gx.named_chain(
        ("decay", gx.add_decoupled_weight_decay(gx.tunable(0.1), mask=select.decayed)),
        ("rate", gx.scale_by_learning_rate(gx.linear_schedule(0.0, 1.0, 10))),
    )
    assert gx.to_config(tx) == {
        "version": 1,
        "transformation": {
            "named_chain()": [
                [
                    "decay",
                    {
                        "add_decoupled_weight_decay()": {
                            "weight_decay": {"tunable()": {"value": 0.1}},
                            "mask": {"select.decayed()": {}},
                        }
                    },
                ],
                [
                    "rate",
                    {
                        "scale_by_learning_rate()": {
                            "learning_rate": {
                                "linear_schedule()": {
                                    "start": 0.0,
                                    "end": 1.0,
                                    "steps": 10,
                                }
                            }
                        }
                    },
                ],
            ]
        },
    }


def test_the_order_of_groups_survives_sorted_keys() -> None:
    """The first group that selects a parameter has it, and YAML sorts the keys of a dict."""
    tx = gx.chain(
        gx.partition(
            {
                "z": (select.path("head/.*"), gx.adam(1e-3)),
                "a": (select.all, gx.sgd(1.0, momentum=0.9)),
            }
        ),
        gx.layerwise_decay(0.5, {"head/.*": 0, ".*": 1}),
    )
    data = yaml.safe_load(yaml.safe_dump(gx.to_config(tx)))
    assert gx.from_config(data) == tx
    assert gx.from_config(json.loads(json.dumps(gx.to_config(tx), sort_keys=True))) == tx
    by_hand = {"partition()": {"groups": {"b": [{"select.all()": {}}, {"sgd()": [0.1]}]}}}
    assert gx.from_config(config(by_hand)) == gx.partition({"b": (select.all, gx.sgd(0.1))})


def test_written_by_hand_defaults_may_be_left_out() -> None:
    data = yaml.safe_load(
        """
        version: 1
        transformation:
          chain():
            - clip_by_global_norm(): {max_norm: 1}
            - adamw():
                learning_rate: {cosine_decay(): {value: 0.001, steps: 100}}
                mask: {select.all_of(): [select.decayed(): , select.path(): {pattern: head/.*}]}
                state_dtype: bfloat16
        """
    )
    assert gx.from_config(data) == gx.chain(
        gx.clip_by_global_norm(1.0),
        gx.adamw(
            gx.cosine_decay(1e-3, 100),
            mask=select.decayed & select.path("head/.*"),
            state_dtype="bfloat16",
        ),
    )


def double(step: Any) -> Any:
    return 2.0 * step


@gx.optimizer
def my_optimizer(learning_rate: gx.LearningRate) -> gx.GradientTransformation:
    return gx.sgd(learning_rate)


def test_functions_and_factories_of_ones_own_are_passed_by_name() -> None:
    tx = gx.chain(my_optimizer(double), gx.scale(lambda step: 1.0))
    last = tx.recipe.arguments["transformations"][1].recipe.arguments["factor"]
    with pytest.raises(ValueError, match=r"chain\(\)/transformations/1/.*has no name. Pass one"):
        gx.to_config(tx)
    functions = {"one": last, "mine": my_optimizer}
    data = gx.to_config(tx, functions=functions)
    assert data["transformation"]["chain()"][0] == {
        "mine()": {"learning_rate": {"function()": "double"}}
    }
    assert gx.from_config(data, functions={**functions, "double": double}) == tx
    with pytest.raises(ValueError, match=r"at `transformation/chain\(\)/0/mine\(\)`: no `mine`"):
        gx.from_config(data)
    with pytest.raises(ValueError, match=r"no function `double`.*Passed are: one, mine\."):
        gx.from_config(data, functions=functions)


def test_numbers_arrays_and_trees() -> None:
    mask = {"a": [True, {"b": False}], "c": np.bool_(True)}
    tx = gx.adamw(np.float32(0.5), b1=0, mask=mask)
    assert through_json(tx) == tx
    schedule = gx.piecewise_constant(jnp.array([1.0, 0.5]), boundaries=[3])
    assert through_json(gx.sgd(schedule)) == gx.sgd(schedule)
    infinite = gx.polyak_sgd(learning_rate=0.1, max_step_size=1e300)
    assert through_json(infinite) == infinite


def test_what_cannot_be_written_says_where() -> None:
    for tx, message in (
        (gx.chain(optax.adam(0.1)), r"chain\(\)/transformations/0`: a transformation of Optax's"),
        (gx.adamw(0.1, mask={"a": (True, False)}), "`mask` of `adamw` holds a container"),
        (gx.adamw(0.1, mask={1: True}), "the key 1 cannot be written"),
        (gx.sgd(functools.partial(pow, 0.5)), "has no name. Pass one"),
    ):
        with pytest.raises(ValueError, match=message):
            gx.to_config(tx)

    def another() -> Any:
        def double(step: Any) -> Any:
            return 3.0 * step

        return double

    with pytest.raises(ValueError, match="two functions are called `double`"):
        gx.to_config(gx.chain(gx.sgd(double), gx.sgd(another())))
    with pytest.raises(TypeError, match="`tx` must be a gradient transformation"):
        gx.to_config(gx.adam)

    @jax.jit
    def traced(rate: jax.Array) -> jax.Array:
        with pytest.raises(ValueError, match=r"adam\(\)/learning_rate`: <traced float32"):
            gx.to_config(gx.adam(rate))
        return rate

    traced(0.1)


def config(inner: Any, version: Any = 1) -> dict[str, Any]:
    return {"version": version, "transformation": inner}


itself: dict[str, Any] = {}
itself["chain()"] = [itself]
many: list[Any] = [1]
for _ in range(50):  # 2^50 values, as YAML's references can write them
    many = [many, many]


def nested(depth: int) -> dict[str, Any]:
    data: dict[str, Any] = {"sgd()": [0.1]}
    for _ in range(depth):
        data = {"chain()": [data]}
    return data


def decaying(steps: float) -> dict[str, Any]:
    return {"sgd()": [{"cosine_decay()": {"value": 1.0, "steps": steps}}]}


class Foreign:
    """As `ml_collections.ConfigDict`, which is no mapping."""

    def to_dict(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "a dict with `version` and `transformation`; got"),
        (Foreign(), r"Pass `data.to_dict\(\)`"),
        ({"transformation": {}}, "missing: version; unknown: none"),
        ({**config({}), "extra": 1}, "missing: none; unknown: extra"),
        (
            config({}, version=2),
            "has version 2, and this library reads version 1. Read it with",
        ),
        (config({}, version="1"), "has version '1', and this library reads version 1"),
        (config({}, version=True), "has version True, and"),
        (config({"adm()": {}}), r"at `transformation/adm\(\)`: no `adm`. Did you mean `adam`"),
        (
            config({"adam()": {"learning_rte": 1}}),
            r"adam\(\)`: `adam` has no argument `learning_rte`. Did you mean `learning_rate`",
        ),
        (
            config({"chain()": [{"adam()": {"learning_rate": "fast"}}]}),
            r"at `transformation/chain\(\)/0/adam\(\)`: `adam\(learning_rate='fast'\)`",
        ),
        (config({"adam()": {"learning_rate": {"cosine_decay()": {"value": 1}}}}), "cosine_decay"),
        (config({"adam()": {}, "sgd()": {}}), r"`adam\(\)` is a call and must be the only key"),
        (config({"adam()": 0.1}), "takes arguments by name; got 0.1"),
        (config({"cosine_decay()": {"value": 1, "steps": 2}}), "must be a transformation; got cos"),
        (config({"tunable()": {"x": 1}}), "takes `value`"),
        (config({"ordered()": {"a": 1}}), "takes a list of pairs of a name and a value"),
        (config({"ordered()": [["a", 1], ["a", 2]]}), "a occurs twice"),
        (config({"function()": "os.system"}), "no function `os.system`. Pass it"),
        (config(itself), "the data contains itself"),
        (
            config(nested(200)),
            r"at `.*chain\(\)/.../chain.*`: the data is nested more than 100 deep",
        ),
        (config(nested(100_000)), "nested more than 100 deep"),
        (config(many), "the data holds more than 200,000 values"),
        (config({"sgd()": {"mask": {"select.any_of()": [1]}}}), "`selectors` must be selectors"),
        (config({"chain()": {"transformations": 5}}), "`transformations` must be a list; got 5"),
        (config(decaying(math.inf)), "`steps` must be a whole number"),
        (config({"adam()": [10**400]}), "`learning_rate` must be finite, at least 0; got 1000"),
        (config(decaying(10**5000)), "`steps` must be .*<int, too long to be written>"),
        (config({"adam()": {"learning_rate": 1, "state_dtype": "9" * 5000}}), "a real floating dt"),
        (config({"x" * 10**6 + "()": {}}), r"no `x{57}\.\.\.`\. `available\(\)` lists"),
        (config({"sgd()": {"\x1b[2J" * 99: 1}}), r"there is no argument `\\x1b\[2J"),
        (config("\ud800"), "at `transformation`: text holds one half of a surrogate pair"),
        (config(0.1), "must be a transformation; got 0.1"),
    ],
)
def test_bad_data_is_answered_with_its_place(data: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gx.from_config(data)


def test_names_can_be_searched() -> None:
    names = gx.available()
    assert names == sorted(names)
    assert {row.name for row in (*CATALOG, *SCHEDULES)} <= {*names}
    assert gx.available("adam*") == ["adam", "adamax", "adamaxw", "adamw"]
    assert "select.decayed" in gx.available("select.*")
    assert gx.available("nothing") == []
    assert "my_optimizer" not in names

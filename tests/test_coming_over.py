"""The table of Optax's names, arguments and defaults says what Optax's own signatures say."""

import ast
import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

import gradxform as gx
from gradxform.core import coming_over as table

MODULES = (optax.contrib, optax, optax.schedules, optax.transforms)
# Optax's protocols, types of states and decorators of its own, which nobody calls.
TYPES = re.compile(r".*(State|Fn|Params|Node|Info|Numbers|Every|Schedule|Function|ExtraArgs)$|Mask")
# What a position of ours means where Optax has something that this refuses, whatever it is.
REFUSED = {
    ("freeze", "inner"): {"w": True},
    ("partition", "default"): {"w": "decay"},
    ("partition", "groups"): {"decay": optax.sgd(0.1)},
}


def of_optax(name):
    found = (getattr(module, name, None) for module in MODULES)
    return next((f for f in found if callable(f)), None)


def shared():
    """The functions that both have, with both signatures' parameters."""
    for name in gx.__all__:
        ours, theirs = getattr(gx, name), of_optax(name)
        if theirs is not None and not inspect.isclass(ours) and callable(ours):
            yield name, *(inspect.signature(f).parameters for f in (ours, theirs))


def named(parameters):
    """Parameters that have a name of their own."""
    return [p for p in parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def renamed(function, argument):
    return table.RENAMED.get(function, {}).get(argument, argument)


def test_every_public_name_of_optax_is_here_or_in_the_table():
    names = {name for m in MODULES for name in dir(m) if not name.startswith("_")}
    names = {n for n in names if of_optax(n) and not TYPES.match(n) and not hasattr(gx, n)}
    assert names - table.OPTAX.keys() == set()
    assert not [name for name in {**table.OPTAX, **table.ELSEWHERE} if name in gx.__all__]
    deprecated = {"dpsgd", "differentially_private_aggregate"}
    assert not {n for n in table.OPTAX if of_optax(n) is None} - {*deprecated, "flatten"}


def test_every_argument_of_optax_has_a_word_here():
    for name, ours, theirs in shared():
        for argument in named(theirs):
            here = renamed(name, argument.name)
            assert here in ours or table.argument(name, argument.name, ours), (name, argument.name)
        assert set(table.RENAMED.get(name, {}).values()) <= set(ours), name
        assert not set(table.RENAMED.get(name, {})) & set(ours), name


def test_the_same_positional_call_never_lands_in_another_argument():
    for name, ours, theirs in shared():
        positions = [
            [p.name for p in side.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
            for side in (ours, theirs)
        ]
        for here, there in zip(*positions, strict=False):
            if name == "reduce_on_plateau":
                assert positions[0] == ["value"]  # no transformation: nothing else takes its place
            elif (name, here) in REFUSED:
                arguments = {"groups": {}, "inner": gx.sgd(0.1), here: REFUSED[name, here]}
                arguments = {key: x for key, x in arguments.items() if key in ours}
                with pytest.raises((TypeError, ValueError), match=f"{name}"):
                    getattr(gx, name)(**arguments)
            else:
                assert renamed(name, there) == here, (name, here, there)


def test_defaults_that_differ_stand_in_the_table():
    alike = ({None, 0.0}, {None, True})  # of a decay, of a mask
    found = {}
    for name, ours, theirs in shared():
        for argument in named(theirs):
            here = ours.get(renamed(name, argument.name))
            pair = None if here is None else (here.default, argument.default)
            if pair is None or inspect.Parameter.empty in pair or argument.name in ("seed", "key"):
                continue
            if pair[0] != pair[1] and set(pair) not in alike and argument.name != "learning_rate":
                found.setdefault(name, {})[here.name] = pair
    found["dowg"] = {"learning_rate": (0.5, optax.contrib.dowg.__defaults__[0])}
    assert found == table.DEFAULTS


SENTENCES = [
    *table.OPTAX.values(),
    *table.ELSEWHERE.values(),
    *(said.write for ways in table.ARGUMENTS.values() for said in ways),
    *(text for own in table.OWN_ARGUMENTS.values() for text in own.values()),
]


def test_what_the_table_says_to_write_can_be_written():
    """Each `gx.` name exists, and takes the arguments that it is given by name."""
    for code in re.findall(r"`(gx\.[^`]*)`", " ".join(SENTENCES)):
        for node in ast.walk(ast.parse(code.replace("...", "*_"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("gx."):
                eval(ast.unparse(node))
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("gx."):
                parameters = inspect.signature(eval(ast.unparse(node.func))).parameters
                given = {keyword.arg for keyword in node.keywords}
                assert given <= set(parameters) or "hyperparams" in code, code
    for name in re.findall(r"optax\.(?:contrib\.)?(\w+)", " ".join(SENTENCES)):
        assert of_optax(name) or name in ("flatten", "dpsgd", "differentially_private_aggregate")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("add_decayed_weights", "`gx.add_decoupled_weight_decay(weight_decay)`"),
        ("AdamW", "`gx.adamw(learning_rate)`"),
        ("cosine_decay_schedule", "`gx.cosine_decay("),
        ("cosine_annealing", "`gx.cosine_decay("),
        ("MultiSteps", "`gx.accumulate(inner, every=4)`"),
        ("ReduceLROnPlateau", "`gx.adam(gx.reduce_on_plateau(1e-3))`"),
        ("rmsprob", "Did you mean `rmsprop`?"),
        ("LARS", "`gx.lars`"),
    ],
)
def test_a_name_of_others_is_answered_with_ours(name, words):
    assert not hasattr(gx, name)
    assert name not in dir(gx)
    with pytest.raises(AttributeError) as caught:
        getattr(gx, name)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"module 'gradxform' has no attribute {name!r}.")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("gx.adam(lr=0.1)", "Write `learning_rate=`"),
        ("gx.adam(0.1, betas=(0.9, 0.99))", "`b1=0.9, b2=0.999`"),
        ("gx.adam(0.1, weight_decay=0.1)", "`gx.adamw(learning_rate, weight_decay=0.01)`"),
        ('gx.adam(0.1, mu_dtype="bfloat16")', 'Write `state_dtype={"mu": "bfloat16"}`'),
        ('gx.lion(0.1, mu_dtype="bfloat16")', 'Write `state_dtype={"mu": "bfloat16"}`'),
        ("gx.adopt(0.1, eps_root=0.0)", "`eps=`; nothing is added under the root"),
        ("gx.adam(0.1, nesterov=True)", "`gx.nadam(learning_rate)`"),
        ('gx.sgd(0.1, accumulator_dtype="float32")', "Write `state_dtype=`"),
        ("gx.cosine_decay(1.0, decay_steps=10)", "Write `steps=`"),
        ("gx.linear_schedule(init_value=1.0)", "Write `start=`"),
        ("gx.linear_schedule(1.0, 0.0, transition_steps=3)", "Write `steps=`"),
        ("gx.adafactor(0.1, 128)", "adafactor(learning_rate, *, decay_rate,"),
        ("gx.lars(0.1, 1e-4)", "Those behind `*` are passed by name."),
        ("gx.adafactor(0.1, decay_rate=128)", "above 0 and at most 1"),
        ("gx.chain(optax.MultiSteps(optax.sgd(0.1), 4))", "`accumulate(tx, every)`"),
    ],
)
def test_an_argument_of_others_is_answered_with_ours(call, words):
    with pytest.raises((TypeError, ValueError)) as caught:
        eval(call)
    assert words in str(caught.value)


def test_set_hyperparams_knows_them_too():
    state = gx.adam(gx.tunable(0.1)).init(jnp.zeros(2))
    with pytest.raises(KeyError, match=r"no `lr` among .* Write `learning_rate=`"):
        gx.set_hyperparams(state, lr=0.1)


# Claims about behaviour


def path_of(tx, gradients, **extra):
    def step(state, given):
        g, more = given
        u, state = tx.update(g, state, W, **more)
        return state, u

    return jax.jit(lambda: jax.lax.scan(step, tx.init(W), (gradients, extra))[1])()


W = jnp.asarray([0.5, -1.0, 2.0])
GRADIENTS = np.float32(np.random.default_rng(0).normal(size=(6, 3)))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (gx.adadelta(0.1, 0.9), optax.adadelta(0.1)),
        (gx.adagrad(0.1, 0.1, 0.0, eps_root=1e-7), optax.adagrad(0.1)),
        (gx.rmsprop(0.1, eps=0.0, eps_root=1e-8), optax.rmsprop(0.1)),
        (gx.rmsprop(0.1, initial_accumulator_value=1.0), optax.rmsprop(0.1, initial_scale=1.0)),
        (gx.adamaxw(0.1, weight_decay=1e-4), optax.adamaxw(0.1)),
        (gx.lamb(0.1, weight_decay=0.0), optax.lamb(0.1)),
        (gx.adam(0.1, eps_root=1e-2), optax.adam(0.1, eps_root=1e-2)),
        (gx.optimistic_adam(0.1), optax.optimistic_adam_v2(0.1, nesterov=False)),
        # Arguments that are called otherwise
        (gx.cocob(l2=0.1), optax.contrib.cocob(weight_decay=0.1)),
        (gx.dowg(1.0, l2=0.1), optax.contrib.dowg(1.0, weight_decay=0.1)),
        (gx.madgrad(0.1, l2=0.1), optax.contrib.madgrad(0.1, weight_decay=0.1)),
        (
            gx.prodigy(d0=1e-3, d_coef=2.0, b3=0.9, bias_correction=True),
            optax.contrib.prodigy(estim_lr0=1e-3, estim_lr_coef=2.0, beta3=0.9),
        ),
        (
            gx.novograd(0.1, momentum=0.8, decay=0.5, eps=1e-6),
            optax.novograd(0.1, b1=0.8, b2=0.5),
        ),
        (
            gx.scale_by_factored_rms(factored=False),
            optax.scale_by_factored_rms(factored=False),
        ),
    ],
    ids=lambda tx: (
        repr(tx).replace("\n", "") if isinstance(tx, gx.GradientTransformation) else "optax"
    ),
)
def test_with_optaxs_numbers_the_steps_are_optaxs(ours, theirs):
    np.testing.assert_allclose(
        path_of(ours, GRADIENTS), path_of(theirs, GRADIENTS), rtol=3e-5, atol=1e-7
    )


def test_patience_n_is_optaxs_n_plus_1():
    values = jnp.float32([1.0, *([2.0] * 7)])
    ones = np.ones((8, 3), np.float32)
    ours = gx.sgd(gx.reduce_on_plateau(1.0, patience=2))
    theirs = optax.chain(optax.sgd(1.0), optax.contrib.reduce_on_plateau(patience=3))
    np.testing.assert_allclose(
        path_of(ours, ones, value=values), path_of(theirs, ones, value=values)
    )


def test_schedules_written_as_the_table_says_are_optaxs():
    steps = np.arange(40)
    pairs = [
        (
            gx.warmup(gx.cosine_decay(1.0, 20, end=0.1), 10),
            optax.warmup_cosine_decay_schedule(0.0, 1.0, 10, 30, 0.1),
        ),
        (gx.cosine_decay(2.0, 20, end=0.2), optax.cosine_decay_schedule(2.0, 20, alpha=0.1)),
        (gx.step_decay(1.0, 0.5, every=10), optax.exponential_decay(1.0, 10, 0.5, staircase=True)),
        (gx.piecewise_constant([1.0, 0.5], [5]), optax.piecewise_constant_schedule(1.0, {5: 0.5})),
        (gx.one_cycle(0.3, 40), optax.cosine_onecycle_schedule(40, 0.3)),
        (
            gx.delay_schedule(gx.exponential_decay(1.0, 10, 0.5), 3),
            optax.exponential_decay(1.0, 10, 0.5, transition_begin=3),
        ),
        (gx.polynomial_decay(1.0, 20, 2.0, 0.1), optax.polynomial_schedule(1.0, 0.1, 2.0, 20)),
    ]
    ours, theirs = jax.jit(
        lambda t: [[jax.vmap(pair[side])(t) for pair in pairs] for side in (0, 1)]
    )(steps)
    for here, there in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-5, atol=1e-7)


def test_a_type_checker_still_sees_a_misspelled_name():
    """The answer stands where type checkers do not look: to them the package has fixed names."""
    body = ast.parse(inspect.getsource(gx)).body
    (choice,) = (x for x in body if isinstance(x, ast.If))
    assert ast.unparse(choice.test) == "_typing.TYPE_CHECKING"
    assert "__getattr__" in "".join(map(ast.unparse, choice.orelse))
    seen = [x for x in body if x is not choice] + choice.body
    assert not any("__getattr__" in ast.unparse(x) for x in seen)

"""Metrics in TensorBoard, Weights & Biases and MLflow: a training loop for each, and what it wrote.

The loops are written as users write them. A logger is called with plain numbers every few steps,
so that only those steps wait for the device.
"""

import json
import struct
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from gradxform import select

STEPS, EVERY = 40, 10

# What these packages warn of in their own code is not ours to fix.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def training():
    """Parameters, state, batches, and a jitted step that returns what is to be logged."""
    tx = gx.with_metrics(
        gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(gx.cosine_decay(0.1, STEPS))),
        every=EVERY,
        groups={"head": select.path("head/.*")},
    )
    params = {"body": {"w": jnp.full((3, 3), 0.1)}, "head": {"w": jnp.full((3, 1), 0.1)}}

    @jax.jit
    def train_step(params, state, x):
        def loss_fn(params):
            return jnp.mean(
                (x @ params["body"]["w"] @ params["head"]["w"] - x.sum(1)[:, None]) ** 2
            )

        loss, grads = jax.value_and_grad(loss_fn)(params)
        updates, state = tx.update(grads, state, params)
        return gx.apply_updates(params, updates), state, {"loss": loss, **gx.metrics(state)}

    batches = list(np.random.default_rng(0).normal(size=(STEPS, 8, 3)).astype(np.float32))

    def history():
        params_, state, logged = params, tx.init(params), []
        for x in batches:
            params_, state, found = train_step(params_, state, x)
            logged.append(found)
        return [{name: float(value) for name, value in one.items()} for one in logged[::EVERY]]

    return types.SimpleNamespace(
        params=params, tx=tx, batches=batches, step=train_step, expected=history()
    )


def agrees(written, expected):
    """Whether {name: [(step, value), ...]} is what the loop saw at every tenth step."""
    assert {*written} == {*expected[0]} >= {"loss", "learning_rate", "update_ratio"}
    assert "head/update_norm" in written
    for name, points in written.items():
        steps, values = zip(*points, strict=True)
        assert steps == tuple(range(0, STEPS, EVERY))
        np.testing.assert_allclose(values, [one[name] for one in expected], rtol=1e-6)
    rates = [value for _, value in written["learning_rate"]]
    np.testing.assert_allclose(rates, gx.cosine_decay(0.1, STEPS)(np.arange(0, STEPS, EVERY)))


def test_tensorboard(training, tmp_path):
    tensorboard = pytest.importorskip("tensorboardX")
    params, state = training.params, training.tx.init(training.params)

    with tensorboard.SummaryWriter(str(tmp_path)) as writer:
        for i, batch in enumerate(training.batches):
            params, state, logged = training.step(params, state, batch)
            if i % EVERY == 0:
                for name, value in logged.items():
                    writer.add_scalar(name, float(value), i)

    from tensorboardX.proto.event_pb2 import Event

    (file,) = tmp_path.glob("events.out.tfevents.*")
    data, written = file.read_bytes(), {}
    while data:  # length, its checksum, an event, its checksum
        (length,) = struct.unpack("<Q", data[:8])
        event = Event.FromString(data[12 : 12 + length])
        data = data[16 + length :]
        for value in event.summary.value:
            written.setdefault(value.tag, []).append((event.step, value.simple_value))
    agrees(written, training.expected)


def test_weights_and_biases(training, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    params, state = training.params, training.tx.init(training.params)

    with wandb.init(
        project="digits", config=gx.to_config(training.tx), mode="offline", dir=tmp_path
    ) as run:
        for i, batch in enumerate(training.batches):
            params, state, logged = training.step(params, state, batch)
            if i % EVERY == 0:
                run.log({name: float(value) for name, value in logged.items()}, step=i)

    wandb.teardown()  # the process that writes ends, as it does with the program
    records = list(records_of(next(tmp_path.rglob("run-*.wandb")).read_bytes()))
    written = {}
    for record in records:
        found = {
            item.key or "/".join(item.nested_key): json.loads(item.value_json)
            for item in record.history.item
        }
        for name, value in found.items():
            if not name.startswith("_"):
                written.setdefault(name, []).append((found["_step"], value))
    agrees(written, training.expected)
    config = {
        item.key: json.loads(item.value_json)
        for record in records
        for item in [*record.config.update, *record.run.config.update]
    }
    assert (
        gx.from_config({key: config[key] for key in ("version", "transformation")}) == training.tx
    )


def records_of(data):
    """The records of an offline run: a log in blocks of 32 kB, as LevelDB writes them."""
    from wandb.proto.wandb_internal_pb2 import Record

    place, parts = 7, b""
    while place + 7 <= len(data):
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if 2**15 - place % 2**15 < 7:  # no room for another header
            place += -place % 2**15
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


def test_mlflow(training, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    monkeypatch.chdir(tmp_path)
    params, state = training.params, training.tx.init(training.params)

    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    with mlflow.start_run() as run:
        mlflow.log_dict(gx.to_config(training.tx), "optimizer.json")
        for i, batch in enumerate(training.batches):
            params, state, logged = training.step(params, state, batch)
            if i % EVERY == 0:
                mlflow.log_metrics({name: float(x) for name, x in logged.items()}, step=i)

    client = mlflow.MlflowClient()
    written = {
        name: [
            (point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)
        ]
        for name in client.get_run(run.info.run_id).data.metrics
    }
    agrees(written, training.expected)
    stored = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/optimizer.json")
    assert gx.from_config(stored) == training.tx

"""Memory and traffic of training on many devices, computed before there are any.

    python planning.py                      # print the page
    python planning.py --write              # write it to planning.md

Nothing is allocated: the bytes of the state are those of `jax.eval_shape` of the transformation's
`init`, and who holds what is what `gradxform.state_sharding` says on an abstract mesh.
"""

import argparse
import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec
from shapes import Shapes

import gradxform as gx

PAGE = Path(__file__).parent / "planning.md"
DEVICES = (8, 64, 256, 1024)
LAYOUTS = ("replicated", "ZeRO-1", "fully sharded")
ADAMW = gx.adamw(3e-4, b2=0.95, weight_decay=0.1)
SETTINGS: dict[str, tuple[gx.GradientTransformation, str]] = {
    "AdamW, float32": (ADAMW, "float32"),
    "AdamW, bfloat16, master weights": (gx.master_weights(ADAMW), "bfloat16"),
    "the same, moments in bfloat16": (
        gx.master_weights(gx.adamw(3e-4, b2=0.95, weight_decay=0.1, state_dtype="bfloat16")),
        "bfloat16",
    ),
    "Lion, bfloat16, master weights": (gx.master_weights(gx.lion(1e-4)), "bfloat16"),
    "Adafactor, bfloat16, master weights": (gx.master_weights(gx.adafactor(1e-2)), "bfloat16"),
    "Adafactor, bfloat16": (gx.adafactor(1e-2), "bfloat16"),
}
# Bytes per second and direction: NVLink inside of a machine with 8 devices, a 400 Gbit/s network
# card for each device between machines.
LINKS = {8: 450e9, 64: 50e9, 256: 50e9, 1024: 50e9}


def llama3(layers: int, width: int, kv: int, hidden: int, vocabulary: int = 128256) -> Shapes:
    """The arrays of a Llama 3, the layers stacked along the first axis, as a scan over them does.

    Grattafiori et al., 2024, table 3, https://arxiv.org/abs/2407.21783
    """
    return {
        "embedding": (vocabulary, width),
        "layers/attention_norm": (layers, width),
        "layers/down": (layers, hidden, width),
        "layers/gate": (layers, width, hidden),
        "layers/k": (layers, width, kv),
        "layers/mlp_norm": (layers, width),
        "layers/o": (layers, width, width),
        "layers/q": (layers, width, width),
        "layers/up": (layers, width, hidden),
        "layers/v": (layers, width, kv),
        "norm": (width,),
        "output": (width, vocabulary),
    }


MODELS = {
    "Llama 3 8B": llama3(layers=32, width=4096, kv=1024, hidden=14336),
    "Llama 3 70B": llama3(layers=80, width=8192, kv=1024, hidden=28672),
}


class Plan(NamedTuple):
    """Bytes of one device, and the bytes that it sends in a step."""

    params: int
    gradients: int
    state: int
    sent: float

    @property
    def total(self) -> int:
        """All that is there between the backward pass and the update, but for activations."""
        return self.params + self.gradients + self.state


def params_of(shapes: Shapes, dtype: str, mesh: Any, layout: str) -> dict[str, Any]:
    """Abstract parameters, placed as the layout wants them."""
    whole = NamedSharding(mesh, PartitionSpec())
    params = {
        name: jax.ShapeDtypeStruct(shape, jnp.dtype(dtype), sharding=whole)
        for name, shape in shapes.items()
    }
    if layout != "fully sharded":
        return params
    # The parameters lie where a buffer of their shape would; stacked ones are split like one of
    # their layers where that can be, because a scan over layers split over devices gathers all.
    layers = {
        name: _shaped(p, p.shape[name.startswith("layers/") :], whole) for name, p in params.items()
    }
    places = gx.state_sharding(gx.scale_by_momentum(), layers, mesh, zero_axis="data").trace
    placed = {}
    for name, p in params.items():
        spec = (None,) * (len(p.shape) - len(layers[name].shape)) + tuple(places[name].spec)
        placed[name] = _shaped(p, p.shape, NamedSharding(mesh, PartitionSpec(*spec)))
    return placed


def _shaped(like: Any, shape: tuple[int, ...], place: NamedSharding) -> Any:
    return jax.ShapeDtypeStruct(shape, like.dtype, sharding=place)


def plan(tx: gx.GradientTransformation, shapes: Shapes, dtype: str, mesh: Any, layout: str) -> Plan:
    """What one device holds and sends."""
    zero_axis = "data" if layout == "ZeRO-1" else None
    params = params_of(shapes, dtype, mesh, layout)
    each = {
        name: math.prod(p.sharding.shard_shape(p.shape)) * p.dtype.itemsize
        for name, p in params.items()
    }
    state = gx.state_bytes(tx, params, mesh, zero_axis).per_device
    n = mesh.shape["data"]
    full = {name: math.prod(p.shape) * p.dtype.itemsize for name, p in params.items()}
    # On a ring each of reduce-scatter and all-gather sends (n - 1) / n of an array, and an
    # all-reduce is both. Split parameters are gathered for the forward pass and the backward pass.
    passes = {name: 3 if each[name] < full[name] else 2 for name in params}
    sent = sum(passes[name] * full[name] * (n - 1) / n for name in params)
    total = sum(each.values())
    return Plan(total, total, state, sent)


def page() -> str:
    """The page as Markdown."""
    lines = [
        "# Memory and traffic on many devices",
        "",
        "Written by `python planning.py --write`. N devices along one mesh axis, `data`, split the "
        "batch. A device holds parameters p, their gradients g and the optimizer's state s, and "
        "sends so much in a step on a ring (activations and their traffic come on top):",
        "",
        "| layout | held | sent |",
        "| --- | --- | --- |",
        "| replicated | p + g + s | all-reduce of g: 2 g (N - 1) / N |",
        "| ZeRO-1 | p + g + s / N | reduce-scatter of g, all-gather of p: (g + p) (N - 1) / N |",
        "| fully sharded | (p + g + s) / N | all-gather of p twice, reduce-scatter of g: "
        "(2 p + g) (N - 1) / N |",
        "",
        "s is taken from `jax.eval_shape` of each transformation, and its part on a device from "
        "`state_sharding` on an abstract mesh; so rows and columns that stay whole are counted as "
        "such. Gradients have the dtype of the parameters. GB is 10^9 bytes.",
    ]
    for name, shapes in MODELS.items():
        numbers = sum(map(math.prod, shapes.values()))
        lines += ["", f"## {name}: {numbers:,} parameters", "", "GB held by a device:", ""]
        lines += _table(shapes)
        lines += ["", "GB sent by a device in a step, and the time that takes:", ""]
        lines += _traffic(shapes)
    return "\n".join([*lines, ""])


def _table(shapes: Shapes) -> list[str]:
    columns = [("replicated", 8), *((layout, n) for layout in LAYOUTS[1:] for n in DEVICES)]
    lines = [
        "| | replicated | " + " | ".join(f"{layout}, {n:,}" for layout, n in columns[1:]) + " |",
        "| --- |" + " ---: |" * len(columns),
    ]
    for setting, (tx, dtype) in SETTINGS.items():
        cells = [
            _short(plan(tx, shapes, dtype, mesh_of(n), layout).total / 1e9) for layout, n in columns
        ]
        lines.append(f"| {setting} | " + " | ".join(cells) + " |")
    return lines


def _traffic(shapes: Shapes) -> list[str]:
    lines = [
        "| parameters | layout | "
        + " | ".join(f"{n:,} at {LINKS[n] / 1e9:.0f} GB/s" for n in DEVICES)
        + " |",
        "| --- | --- |" + " ---: |" * len(DEVICES),
    ]
    for dtype in ("float32", "bfloat16"):
        for layout in LAYOUTS:
            sent = {n: plan(ADAMW, shapes, dtype, mesh_of(n), layout).sent for n in DEVICES}
            cells = [f"{_short(sent[n] / 1e9)} GB, {_short(sent[n] / LINKS[n])} s" for n in DEVICES]
            lines.append(f"| {dtype} | {layout} | " + " | ".join(cells) + " |")
    return lines


def _short(x: float) -> str:
    """Two digits behind the point, one from 10 on and none from 100 on."""
    return f"{x:,.{0 if x >= 100 else 1 if x >= 10 else 2}f}"


def mesh_of(n: int) -> AbstractMesh:
    """A mesh of devices that need not exist."""
    return AbstractMesh((n,), ("data",))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    text = page()
    if parser.parse_args().write:
        PAGE.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()

"""The shapes of the parameters that the benchmarks update: the trees of known models.

Convolutions are (height, width, in, out), other kernels (in, out).
"""

import math

Shapes = dict[str, tuple[int, ...]]


def gpt2(
    layers: int = 12, width: int = 768, vocabulary: int = 50257, context: int = 1024
) -> Shapes:
    """The arrays of GPT-2 by name; the output layer is the embedding, so it is not there twice.

    With the defaults it is the model of 124M parameters: 148 arrays with 124,439,808 numbers.
    """
    return (
        {"embedding": (vocabulary, width), "positions": (context, width)}
        | _layers(layers, transformer_layer(width))
        | {"norm_bias": (width,), "norm_scale": (width,)}
    )


def transformer_layer(width: int = 768) -> Shapes:
    """A layer of GPT-2 and of ViT: 12 arrays, two thirds of them short."""
    return {
        "attention/bias": (3 * width,),
        "attention/kernel": (width, 3 * width),
        "attention/out_bias": (width,),
        "attention/out_kernel": (width, width),
        "attention/norm_bias": (width,),
        "attention/norm_scale": (width,),
        "mlp/bias": (4 * width,),
        "mlp/kernel": (width, 4 * width),
        "mlp/out_bias": (width,),
        "mlp/out_kernel": (4 * width, width),
        "mlp/norm_bias": (width,),
        "mlp/norm_scale": (width,),
    }


def vit(layers: int = 12, width: int = 768, patch: int = 16, classes: int = 1000) -> Shapes:
    """ViT for images of 224 by 224; with the defaults B/16: 152 arrays, 86,567,656 numbers."""
    return (
        {
            "class_token": (1, 1, width),
            "patches/bias": (width,),
            "patches/kernel": (patch, patch, 3, width),
            "positions": (1, (224 // patch) ** 2 + 1, width),
        }
        | _layers(layers, transformer_layer(width))
        | {"norm_bias": (width,), "norm_scale": (width,)}
        | {"head/bias": (classes,), "head/kernel": (width, classes)}
    )


def resnet50(classes: int = 1000) -> Shapes:
    """ResNet-50: 161 arrays, 25,557,032 numbers; 107 of the arrays hold 54,120 of them."""
    shapes = _convolution("stem", 7, 3, 64)
    inputs = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 64 * 2**stage
        for block in range(blocks):
            at = f"stage_{stage}/block_{block}"
            shapes |= _convolution(f"{at}/reduce", 1, inputs, width)
            shapes |= _convolution(f"{at}/convolve", 3, width, width)
            shapes |= _convolution(f"{at}/expand", 1, width, 4 * width)
            if block == 0:
                shapes |= _convolution(f"{at}/shortcut", 1, inputs, 4 * width)
            inputs = 4 * width
    return shapes | {"head/bias": (classes,), "head/kernel": (inputs, classes)}


def llama(layers: int = 32, width: int = 4096, hidden: int = 14336, vocabulary: int = 128256):
    """Llama 3; with the defaults 8B: 291 arrays, 8,030,261,248 numbers."""
    layer: Shapes = {
        "attention/k": (width, width // 4),
        "attention/norm": (width,),
        "attention/o": (width, width),
        "attention/q": (width, width),
        "attention/v": (width, width // 4),
        "mlp/down": (hidden, width),
        "mlp/gate": (width, hidden),
        "mlp/norm": (width,),
        "mlp/up": (width, hidden),
    }
    ends: Shapes = {"embedding": (vocabulary, width), "head": (width, vocabulary), "norm": (width,)}
    return ends | _layers(layers, layer)


def size(shapes: Shapes) -> int:
    """How many parameters they have together."""
    return sum(map(math.prod, shapes.values()))


def _layers(layers: int, layer: Shapes) -> Shapes:
    return {
        f"layer_{index:02}/{name}": shape
        for index in range(layers)
        for name, shape in layer.items()
    }


def _convolution(name: str, extent: int, inputs: int, outputs: int) -> Shapes:
    """A convolution and the norm behind it."""
    kernel = (extent, extent, inputs, outputs)
    return {f"{name}/bias": (outputs,), f"{name}/kernel": kernel, f"{name}/scale": (outputs,)}


SHAPES: dict[str, Shapes] = {
    "resnet50": resnet50(),
    "vit": vit(),
    "gpt2": gpt2(),
    # All 32 layers with an eighth of Llama-3-8B's widths and words; 4 of them as wide as they are.
    "llama-narrow": llama(width=512, hidden=1792, vocabulary=16032),
    "llama-4-layers": llama(layers=4),
    "gpt2-layer": transformer_layer(),
    "many": {f"array_{index:03}": (64,) for index in range(1000)},
    "one": {"array": (50_000_000,)},
    "small": gpt2(layers=2, width=32, vocabulary=101, context=16),
    "tiny": {"bias": (16,), "kernel": (16, 16)},
}

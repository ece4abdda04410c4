"""The shapes of the parameters that the benchmarks update."""

Shapes = dict[str, tuple[int, ...]]


def gpt2(
    layers: int = 12, width: int = 768, vocabulary: int = 50257, context: int = 1024
) -> Shapes:
    """The arrays of GPT-2 by name; the output layer is the embedding, so it is not there twice.

    With the defaults it is the model of 124M parameters: 148 arrays with 124,439,808 numbers.
    """
    shapes: Shapes = {"embedding": (vocabulary, width), "positions": (context, width)}
    for layer in range(layers):
        shapes |= {
            f"layer_{layer:02}/{name}": shape
            for name, shape in {
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
            }.items()
        }
    return shapes | {"norm_bias": (width,), "norm_scale": (width,)}


SHAPES: dict[str, Shapes] = {
    "gpt2": gpt2(),
    "small": gpt2(layers=2, width=32, vocabulary=101, context=16),
}

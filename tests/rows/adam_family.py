"""Adam's next of kin."""

from .row import Row, is_kernel

_DOZAT = "[Dozat 2016](https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ)"
_REDDI = "[Reddi 2018](https://arxiv.org/abs/1904.09237)"
_KINGMA = "[Kingma & Ba 2015](https://arxiv.org/abs/1412.6980)"
_LIU = "[Liu 2020](https://arxiv.org/abs/1908.03265)"
_ZHUANG = "[Zhuang 2020](https://arxiv.org/abs/2010.07468)"
_ZAHEER = (
    "[Zaheer 2018](https://papers.nips.cc/paper/2018/hash/90365351ccc7437a1309dc64e4db32a3-"
    "Abstract.html)"
)
_RATE = {"learning_rate": 0.1}
_DECAY = {"weight_decay": 0.2, "mask": is_kernel}
_MOMENTS = {"b1": 0.8, "b2": 0.95, "eps": 1e-6}
_RADAM = {"b1": 0.8, "b2": 0.97, "eps": 1e-6, "threshold": 8.0}  # passed at step 9
_YOGI = {"b1": 0.8, "b2": 0.7, "eps": 1e-4, "initial_accumulator_value": 0.05}

ROWS = (
    # Blocks
    Row(
        "scale_by_adam",
        {**_MOMENTS, "nesterov": True},
        formula="Adam with b1 m / (1 - b1ᵗ⁺¹) + (1 - b1) g / (1 - b1ᵗ) for m / (1 - b1ᵗ)",
        paper=_DOZAT,
        degree=0,
        plain={"eps": 0.0},
        state_bytes=8,
        narrow_state=True,
        variant="nesterov",
    ),
    Row(
        "scale_by_amsgrad",
        _MOMENTS,
        formula="Adam's m and v; n = max(n, v); u = m / (√n + eps)",
        paper=_REDDI,
        degree=0,
        plain={"eps": 0.0},
        state_bytes=12,
        narrow_state=True,
    ),
    Row(
        "scale_by_adamax",
        _MOMENTS,
        formula="Adam's m; n = max(b2 n, |g| + eps); u = m / (1 - b1ᵗ) / n",
        paper=_KINGMA,
        degree=0,
        plain={"eps": 0.0},
        state_bytes=8,
        narrow_state=True,
    ),
    Row(
        "scale_by_radam",
        _RADAM,
        formula="u = r(t) scale_by_adam(g), or Adam's mean while v averages over too few",
        paper=_LIU,
        state_bytes=8,
        narrow_state=True,
    ),
    Row(
        "scale_by_belief",
        _MOMENTS,
        formula="Adam's m; s = b2 s + (1 - b2) (g - m)² + eps; "
        "u = m / (1 - b1ᵗ) / (√(s / (1 - b2ᵗ)) + eps)",
        paper=_ZHUANG,
        degree=0,
        plain={"eps": 0.0},
        state_bytes=8,
        narrow_state=True,
    ),
    Row(
        "scale_by_yogi",
        _YOGI,
        formula="Adam's m; v = v - (1 - b2) sign(v - g²) g²; u = m / (√v + eps)",
        paper=_ZAHEER,
        degree=0,
        plain={"eps": 0.0, "initial_accumulator_value": 0.0},
        state_bytes=8,
        narrow_state=True,
    ),
    # Optimizers
    Row(
        "nadam",
        {**_RATE, **_MOMENTS},
        kind="optimizer",
        formula="-learning_rate scale_by_adam(g), with nesterov",
        paper=_DOZAT,
        degree=0,
        plain={"eps": 0.0},
        state_bytes=8,
        narrow_state=True,
    ),
    Row(
        "nadamw",
        {**_RATE, **_MOMENTS, **_DECAY},
        kind="optimizer",
        formula="-learning_rate (scale_by_adam(g) + weight_decay w), with nesterov",
        paper=_DOZAT,
        reads_params=True,
        degree=0,
        plain={"eps": 0.0, "weight_decay": 0.0},
        state_bytes=8,
        narrow_state=True,
    ),
    Row(
        "amsgrad",
        {**_RATE, **_MOMENTS},
        kind="optimizer",
        formula="-learning_rate scale_by_amsgrad(g)",
        paper=_REDDI,
        degree=0,
        plain={"eps": 0.0},
        state_bytes=12,
        narrow_state=True,
    ),
    Row(
        "adamax",
        {**_RATE, **_MOMENTS},
        kind="optimizer",
        formula="-learning_rate scale_by_adamax(g)",
        paper=_KINGMA,
        degree=0,
        plain={"eps": 0.0},
        state_bytes=8,
        narrow_state=True,
    ),
    Row(
        "adamaxw",
        {**_RATE, **_MOMENTS, **_DECAY},
        kind="optimizer",
        formula="-learning_rate (scale_by_adamax(g) + weight_decay w)",
        paper=_KINGMA,
        reads_params=True,
        degree=0,
        plain={"eps": 0.0, "weight_decay": 0.0},
        state_bytes=8,
        narrow_state=True,
    ),
    Row(
        "radam",
        {**_RATE, **_RADAM},
        kind="optimizer",
        formula="-learning_rate scale_by_radam(g)",
        paper=_LIU,
        state_bytes=8,
        narrow_state=True,
    ),
    Row(
        "adabelief",
        {**_RATE, **_MOMENTS, **_DECAY},
        kind="optimizer",
        formula="-learning_rate (scale_by_belief(g) + weight_decay w)",
        paper=_ZHUANG,
        reads_params=True,
        degree=0,
        plain={"eps": 0.0, "weight_decay": 0.0},
        state_bytes=8,
        narrow_state=True,
    ),
    Row(
        "yogi",
        {**_RATE, **_YOGI},
        kind="optimizer",
        formula="-learning_rate scale_by_yogi(g)",
        paper=_ZAHEER,
        degree=0,
        plain={"eps": 0.0, "initial_accumulator_value": 0.0},
        state_bytes=8,
        narrow_state=True,
    ),
)

# Arguments that no row needs for its laws.
FURTHER = (
    Row("scale_by_rss", {"eps": 1e-3, "eps_root": 1e-2}, variant="eps_root"),
    Row("scale_by_rms", {"eps": 1e-3, "eps_root": 1e-2}, variant="eps_root"),
    Row(
        "scale_by_rms",
        {"eps": 1e-3, "eps_root": 1e-2, "centered": True},
        variant="centered-eps_root",
    ),
    Row("scale_by_adam", {"eps": 1e-3, "eps_root": 1e-2}, variant="eps_root"),
    *(
        Row(name, {**_RATE, "eps": 1e-3, "eps_root": 1e-2}, variant="eps_root")
        for name in ("adagrad", "rmsprop", "adam", "adamw", "nadam", "nadamw")
    ),
    *(
        Row(f"{scale}{name}", {**rate, "eps": 1e-3, "eps_root": 1e-2}, variant="eps_root")
        for name in ("amsgrad", "radam", "yogi", "adan", "ademamix")
        for scale, rate in (("scale_by_", {}), ("", _RATE))
    ),
    Row("lamb", {**_RATE, "eps": 1e-3, "eps_root": 1e-2}, variant="eps_root"),
    *(
        Row(name, {**rate, "initial_accumulator_value": 0.5}, variant="start")
        for name, rate in (("scale_by_rms", {}), ("rmsprop", _RATE))
    ),
    *(
        Row(name, {**rate, "eps": 1e-3, "bias_correction": False}, variant="uncorrected")
        for name, rate in (("scale_by_adam", {}), ("adam", _RATE), ("adamw", _RATE))
    ),
    *(
        Row(name, {**rate, "min_dim_size_to_factor": 2, **changes}, variant=next(iter(changes)))
        for name, rate in (("scale_by_factored_rms", {}), ("adafactor", _RATE))
        for changes in ({"decay": 0.7}, {"factored": False})
    ),
    *(
        Row(name, {**rate, **_MOMENTS, "bias_correction": place}, variant=place)
        for name, rate in (("scale_by_amsgrad", {}), ("amsgrad", _RATE))
        for place in ("before", "after")
    ),
    *(
        Row(name, {**rate, **_YOGI, "bias_correction": True}, variant="bias_correction")
        for name, rate in (("scale_by_yogi", {}), ("yogi", _RATE))
    ),
    Row("scale_by_radam", {"b2": 0.6}, variant="never-tractable"),
    Row("scale_by_radam", {}, variant="defaults"),
)

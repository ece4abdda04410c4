"""Starting points by domain: what the field trains such models with.

    tx = presets.transformer(steps=20_000, batch_size=512)
    print(tx)  # an ordinary chain, to copy and change

Each is a plain function that returns a chain for a number of steps, a batch size and a peak
learning rate. The peak is the one for a batch of `base_batch_size` examples, where the default
comes from; for another `batch_size` it is scaled, linearly for SGD and by the square root for
adaptive methods. Nothing of the preset is left in what it returns.

A preset is where tuning starts. The peak learning rate is what to tune first, on held-out data.
"""

from typing import Any, Literal

from ..core import check, select
from ..core.types import GradientTransformation
from ..schedules.batch_size import linear_scaling_rule, square_root_scaling_rule
from ..schedules.combine import warmup
from ..schedules.shapes import cosine_decay, linear_schedule, step_decay
from ..transforms.adam import scale_by_adam
from ..transforms.clip import clip_by_global_norm
from ..transforms.decay import add_decoupled_weight_decay, add_l2_regularization
from ..transforms.momentum import scale_by_momentum
from ..transforms.rms import scale_by_rms, scale_by_rss
from ..transforms.scale import scale_by_learning_rate
from ..wrappers.chain import chain


def vision_sgd(
    steps: int,
    *,
    batch_size: int = 256,
    peak: float = 0.1,
    base_batch_size: int = 256,
    warmup_steps: int | None = None,
    decay: Literal["cosine", "steps"] = "cosine",
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
) -> GradientTransformation:
    """Image models from scratch: SGD with momentum 0.9 and weight decay 1e-4.

    For 90 to 300 epochs over many images; for a few thousand, fine-tune instead. Under plain
    SGD weight decay is L2 regularization, and stands first, as in torch. It leaves biases and the
    scales of norms alone, which gains a little over decaying all.

    Args:
      steps: updates of the whole run.
      batch_size: examples of one update.
      peak: the highest learning rate, for `base_batch_size` examples; scaled linearly.
      base_batch_size: the batch size that `peak` is right for.
      warmup_steps: how many steps the learning rate rises; by default 5 % of the run, which large
        batches need and small ones do not mind.
      decay: "cosine" to 0; or "steps", a tenth each at 1/3, 2/3 and 8/9 of the run: epochs 30, 60
        and 80 of 90.
      momentum: of the heavy ball.
      weight_decay: L2, for weights only.

    Raises:
      ValueError: `decay="steps"`, and `steps` too few for three drops behind the warmup.

    Reference: He et al., 2016, https://arxiv.org/abs/1512.03385; Goyal et al., 2017 (large
    batches), https://arxiv.org/abs/1706.02677; He et al., 2019 (cosine, no decay on biases),
    https://arxiv.org/abs/1812.01187
    """
    call = "vision_sgd"
    steps, rise = _lengths(call, steps, warmup_steps, 0.05)
    rate = _scaled(call, linear_scaling_rule, peak, batch_size, base_batch_size)
    check.Choice(("cosine", "steps"))(call, "decay", decay)
    if decay == "cosine":
        falling: Any = cosine_decay(rate, steps - rise)
    else:
        limits = [round(part * steps) - rise for part in (1 / 3, 2 / 3, 8 / 9)]
        if limits[0] < 1 or len({*limits}) < 3:
            check.fail(
                call, "steps", steps, f"enough for three drops behind {rise} steps of warmup"
            )
        falling = step_decay(rate, 0.1, boundaries=limits)
    return chain(
        add_l2_regularization(weight_decay, mask=select.decayed),
        scale_by_momentum(momentum),
        scale_by_learning_rate(_behind_warmup(falling, rise)),
    )


def transformer(
    steps: int,
    *,
    batch_size: int = 256,
    peak: float = 3e-4,
    base_batch_size: int = 256,
    warmup_steps: int | None = None,
    b2: float = 0.999,
    weight_decay: float = 0.01,
    max_norm: float = 1.0,
) -> GradientTransformation:
    """Transformers from scratch: AdamW with warmup, cosine decay and clipping at 1.0.

    Large language models take `b2=0.95`, which forgets spikes sooner, and `weight_decay=0.1`; the
    larger the model, the smaller the peak (6e-4 for 125M parameters, 1e-4 for 10B and more).

    Args:
      steps: updates of the whole run.
      batch_size: sequences, or images, of one update.
      peak: the highest learning rate, for `base_batch_size`; scaled by the square root.
      base_batch_size: the batch size that `peak` is right for.
      warmup_steps: how many steps the learning rate rises; by default 5 % of the run.
      b2: the decay of Adam's second moment.
      weight_decay: decoupled, for weights only.
      max_norm: the bound on the global norm of the gradients.

    Reference: Loshchilov & Hutter, 2019 (AdamW, cosine), https://arxiv.org/abs/1711.05101; Brown
    et al., 2020, appendix B (clipping, peaks by size), https://arxiv.org/abs/2005.14165; Xiong et
    al., 2020 (warmup), https://arxiv.org/abs/2002.04745
    """
    call = "transformer"
    steps, rise = _lengths(call, steps, warmup_steps, 0.05)
    rate = _scaled(call, square_root_scaling_rule, peak, batch_size, base_batch_size)
    return chain(
        clip_by_global_norm(max_norm),
        scale_by_adam(b2=b2),
        add_decoupled_weight_decay(weight_decay, mask=select.decayed),
        scale_by_learning_rate(_behind_warmup(cosine_decay(rate, steps - rise), rise)),
    )


def finetune(
    steps: int,
    *,
    batch_size: int = 32,
    peak: float = 3e-5,
    base_batch_size: int = 32,
    warmup_steps: int | None = None,
    weight_decay: float = 0.01,
    max_norm: float = 1.0,
) -> GradientTransformation:
    """A trained transformer on another task: AdamW at a small rate, with warmup and clipping.

    Small steps keep what was learned before. Peaks to try are 1e-5 to 5e-5 for a whole model, and
    ten times as much where only a head or adapters are trained, in a `partition` or a `freeze`.
    `layerwise_decay` in front of the learning rate keeps the lower layers still more.

    Args:
      steps: updates of the whole run: two to ten epochs.
      batch_size: examples of one update.
      peak: the highest learning rate, for `base_batch_size` examples; scaled by the square root.
      base_batch_size: the batch size that `peak` is right for.
      warmup_steps: how many steps the learning rate rises; by default 10 % of the run.
      weight_decay: decoupled, for weights only.
      max_norm: the bound on the global norm of the gradients.

    Reference: Devlin et al., 2019, appendix A.3 (rates, batches), https://arxiv.org/abs/1810.04805;
    Mosbach et al., 2021 (warmup over 10 %), https://arxiv.org/abs/2006.04884
    """
    call = "finetune"
    steps, rise = _lengths(call, steps, warmup_steps, 0.1)
    rate = _scaled(call, square_root_scaling_rule, peak, batch_size, base_batch_size)
    return chain(
        clip_by_global_norm(max_norm),
        scale_by_adam(),
        add_decoupled_weight_decay(weight_decay, mask=select.decayed),
        scale_by_learning_rate(_behind_warmup(cosine_decay(rate, steps - rise), rise)),
    )


def recurrent(
    steps: int,
    *,
    batch_size: int = 32,
    peak: float = 1e-3,
    base_batch_size: int = 32,
    warmup_steps: int | None = None,
    decay: float = 0.9,
    max_norm: float = 1.0,
) -> GradientTransformation:
    """Recurrent nets: RMSprop behind a clipped norm.

    Gradients through time explode now and then, and clipping is what the training depends on. The
    first steps of RMSprop, whose average starts at 0, are three times too long: a short warmup
    takes that away.

    Args:
      steps: updates of the whole run.
      batch_size: sequences of one update.
      peak: the highest learning rate, for `base_batch_size`; scaled by the square root.
      base_batch_size: the batch size that `peak` is right for.
      warmup_steps: how many steps the learning rate rises; by default 2 % of the run.
      decay: of the average of squared gradients: 0.9, or 0.99 for a longer memory.
      max_norm: the bound on the global norm of the gradients.

    Reference: Tieleman & Hinton, 2012, lecture 6.5 (RMSprop); Pascanu, Mikolov & Bengio, 2013
    (clipping), https://arxiv.org/abs/1211.5063. The cosine decay and the warmup are this library's.
    """
    call = "recurrent"
    steps, rise = _lengths(call, steps, warmup_steps, 0.02)
    rate = _scaled(call, square_root_scaling_rule, peak, batch_size, base_batch_size)
    return chain(
        clip_by_global_norm(max_norm),
        scale_by_rms(decay),
        scale_by_learning_rate(_behind_warmup(cosine_decay(rate, steps - rise), rise)),
    )


def reinforcement(
    steps: int,
    *,
    batch_size: int = 80,
    peak: float = 7e-4,
    base_batch_size: int = 80,
    decay: float = 0.99,
    eps: float = 1e-5,
    max_norm: float = 0.5,
) -> GradientTransformation:
    """Reinforcement learning: RMSprop with a large eps, clipping at 0.5, and a line down to 0.

    The defaults are those of advantage actor-critic (A2C): 5 steps of 16 environments a batch.
    Returns change while the agent learns, and with them the size of the gradients: a large eps
    keeps small ones from becoming long steps.

    Args:
      steps: updates of the whole run.
      batch_size: transitions of one update.
      peak: the learning rate at the start, for `base_batch_size`; scaled by the square root.
      base_batch_size: the batch size that `peak` is right for.
      decay: of the average of squared gradients.
      eps: under the root of the denominator, in squared units of the gradient.
      max_norm: the bound on the global norm of the gradients.

    Reference: Mnih et al., 2016 (RMSprop, linear decay), https://arxiv.org/abs/1602.01783; numbers
    of OpenAI's baselines, https://github.com/openai/baselines
    """
    call = "reinforcement"
    steps = check.Whole(low=2)(call, "steps", steps)
    rate = _scaled(call, square_root_scaling_rule, peak, batch_size, base_batch_size)
    return chain(
        clip_by_global_norm(max_norm),
        scale_by_rms(decay, 0.0, eps_root=eps),
        scale_by_learning_rate(linear_schedule(rate, 0.0, steps)),
    )


def sparse(
    *,
    batch_size: int = 256,
    peak: float = 0.05,
    base_batch_size: int = 256,
    initial_accumulator_value: float = 0.1,
) -> GradientTransformation:
    """Sparse features, such as words and clicks: AdaGrad.

    A feature that is rarely there keeps a high learning rate, and one that is always there gets a
    small one. The sum of squares lowers the rate of each by itself: there is no schedule, and the
    length of the run plays no part.

    Args:
      batch_size: examples of one update.
      peak: the learning rate, for `base_batch_size` examples; scaled by the square root.
      base_batch_size: the batch size that `peak` is right for.
      initial_accumulator_value: what each sum starts at. At 0 the first step of every feature
        would be as long as the learning rate, however small its gradient.

    Reference: Duchi, Hazan & Singer, 2011, https://jmlr.org/papers/v12/duchi11a.html; Pennington,
    Socher & Manning, 2014 (0.05), https://aclanthology.org/D14-1162
    """
    rate = _scaled("sparse", square_root_scaling_rule, peak, batch_size, base_batch_size)
    return chain(scale_by_rss(initial_accumulator_value), scale_by_learning_rate(rate))


def _lengths(call: str, steps: Any, warmup_steps: Any, part: float) -> tuple[int, int]:
    """The steps of the run, and those of its warmup, which leaves some of it."""
    steps = check.Whole(low=2)(call, "steps", steps)
    if warmup_steps is None:
        return steps, max(round(part * steps), 1)
    rise = check.Whole(low=0)(call, "warmup_steps", warmup_steps)
    if rise >= steps:
        check.fail(call, "warmup_steps", rise, f"less than the {steps} steps of the run")
    return steps, rise


def _behind_warmup(schedule: Any, rise: int) -> Any:
    return warmup(schedule, rise) if rise else schedule


def _scaled(call: str, rule: Any, peak: Any, batch_size: Any, base_batch_size: Any) -> float:
    rate = check.Known(check.Interval(low=0.0, low_open=True))(call, "peak", peak)
    sizes = [
        check.Whole()(call, name, value)
        for name, value in (("batch_size", batch_size), ("base_batch_size", base_batch_size))
    ]
    return float(rule(rate, *sizes))

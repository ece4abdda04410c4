"""Blocks by what they make of the updates, as far as the order of a chain depends on it."""

# Division by the size that the gradients of each coordinate have had, or by the curvature.
ADAPTIVE = frozenset(
    [
        "scale_by_adadelta",
        "scale_by_adam",
        "scale_by_adamax",
        "scale_by_adan",
        "scale_by_ademamix",
        "scale_by_adopt",
        "scale_by_amsgrad",
        "scale_by_belief",
        "scale_by_dadapt_adam",
        "scale_by_factored_rms",
        "scale_by_laprop",
        "scale_by_mars",
        "scale_by_momo_adam",
        "scale_by_prodigy",
        "scale_by_radam",
        "scale_by_rms",
        "scale_by_rss",
        "scale_by_sm3",
        "scale_by_sophia",
        "scale_by_yogi",
    ]
)
# What keeps averages, or sums, of what comes in.
AVERAGING = ADAPTIVE | {
    "scale_by_ema",
    "scale_by_lion",
    "scale_by_momentum",
    "scale_by_optimistic_gradient",
    "scale_by_running_norm",
}
# A step size that is measured by the distance from the first parameters.
DISTANCE = frozenset(["scale_by_dog", "scale_by_dowg", "scale_by_prodigy"])
# Only the sign of each coordinate is left.
SIGNS = frozenset(("scale_by_lion", "scale_by_rprop", "scale_by_sign"))
# Decay of the weights that is meant to reach them undivided.
DECAYS = frozenset(
    [
        "add_cautious_weight_decay",
        "add_corrected_weight_decay",
        "add_decoupled_weight_decay",
        "add_independent_weight_decay",
    ]
)
# Bounds in units of the gradient. `clip_by_block_rms` bounds what Adafactor makes of it.
CLIPS = frozenset(
    ["adaptive_gradient_clip", "clip_by_block_norm", "clip_by_global_norm", "clip_by_value"]
)
# What leaves no large step of a large gradient, besides the bounds.
BOUNDED = CLIPS | SIGNS | {"clip_by_block_rms", "normalize_by_global_norm", "scale_by_trust_ratio"}

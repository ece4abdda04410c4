"""What a type checker sees of the public names; `mypy` checks this file, nothing runs it.

A line with `type: ignore[...]` is an error of the program: mypy fails where it finds none.
"""

from typing import assert_type

import gradxform as gx
from gradxform import adamw, compare

tx = gx.chain(gx.clip_by_global_norm(1.0), adamw(gx.cosine_decay(1e-3, steps=10)))
assert_type(tx, gx.GradientTransformation)
assert_type(gx.presets.transformer(steps=10), gx.GradientTransformation)
assert_type(gx.to_html(tx), str)
assert_type(gx.available("adam*"), list[str])
asked = gx.diagnose, gx.plot_run, gx.select.path, gx.tree, gx.ScaleByAdamState, compare

missing = gx.no_such_name  # type: ignore[attr-defined]
gx.adamww(1e-3)  # type: ignore[attr-defined]
gx.add_decayed_weights(0.1)  # type: ignore[attr-defined]
gx.presets.no_such_preset(1e-3)  # type: ignore[attr-defined]
adamw(learning_rate="fast")  # type: ignore[arg-type]
adamw(lr=1e-3)  # type: ignore[call-arg]

"""A comparison as a picture: how fast each candidate learns, and how much its rate matters."""

from typing import TYPE_CHECKING

from ..core.extra import require_extra
from ..inspection.drawing import label
from . import panels
from .report import title
from .runs import Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure(comparison: Outcome, key: str = "learning_rate") -> "Figure":
    """Learning curves at the chosen settings, and the final metric against a hyperparameter.

    Both show the mean over seeds on the validation split, with a band of one standard error. A
    metric in percent is drawn by its distance from 100 %, on a logarithmic scale: 90 to 95 % is
    as far as 95 to 97.5 %, as both halve the errors. A point of a learning curve is the mean over
    evaluations at about the same step.

    Args:
      comparison: at least one candidate must have finished.
      key: the grid's name on the right; where other names vary too, the best of them counts.

    Returns:
      A matplotlib figure, ready for `savefig`.
    """
    require_extra("compare", "matplotlib")
    from matplotlib.figure import Figure

    c = comparison
    out = Figure(figsize=(12, 6.6), layout="constrained")
    curves, profiles = out.subplots(1, 2, sharey=True)
    panels.draw_curves(curves, c)
    panels.draw_profiles(profiles, c, key)
    panels.scale(curves, c)
    panels.scale(profiles, c)
    panels.draw_references(curves, c, named=True)
    panels.draw_references(profiles, c, named=False)
    what = panels.words(key)
    curves.set(title=f"While training, at the chosen {what}", ylabel=panels.metric_label(c))
    profiles.set(title=f"In the last tenth of {c.steps} steps (ring: chosen)")
    handles, labels = curves.get_legend_handles_labels()
    columns = min(len(labels), 5)
    out.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
    out.suptitle(label(f"Optimizers on {title(c)} ({band_note(c)})"))
    return out


def band_note(comparison: Outcome) -> str:
    """What the bands are, and who has a colour."""
    c = comparison
    band = "band: ± 1 standard error" if len(c.seeds) > 1 else "one seed proves nothing"
    shown = len(panels.styles(c))
    if shown < len(c.results):
        band += f"; the best {shown} of {len(c.results)} in colour"
    return band

"""What notebooks show of a transformation: the call that built it, as a nested table.

Every argument has a row, in bold where it differs from the default; what was built by a call
itself can be unfolded, and a schedule has a small picture. It is plain HTML without scripts, in
the colours of the page around it, light or dark.
"""

import html
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import optax

from ..core import check
from ..core.display import Displayed
from ..core.hyperparams import Feedback, Tunable
from ..core.lengths import Length
from ..core.recipe import Recipe, written
from ..core.schedule import StepFunction
from ..core.selector import Selector
from .drawing import one_line
from .sparkline import sparkline

_LONGEST = 160  # characters of a value

_STYLE = """\
.gradxform{font-size:.92em;line-height:1.45;overflow-wrap:anywhere}
.gradxform table{border-collapse:collapse;margin:0 0 .2em .35em;border:0;\
border-left:1px solid rgba(128,128,128,.5);font-size:1em;table-layout:auto}
.gradxform tr,.gradxform td{background:none!important;border:0}
.gradxform td{padding:.05em .5em;text-align:left!important;vertical-align:top;\
white-space:normal!important;max-width:none!important}
.gradxform td:first-child:not([colspan]){width:1%;white-space:nowrap!important}
.gradxform td+td{width:99%}
.gradxform code{background:none;color:inherit;padding:0;white-space:pre-wrap;font-size:.95em}
.gradxform summary{cursor:pointer}
.gradxform details[open]>summary>.gx-call{display:none}
.gradxform .gx-default,.gradxform small{opacity:.7}
.gradxform svg{vertical-align:middle;overflow:visible}
.gradxform .gx-curve{display:inline-block}
.gradxform polyline{fill:none;stroke:#3d8fd1;stroke-width:1.5;stroke-linejoin:round}
@media(max-width:30em){.gradxform td{padding:.05em .25em}}"""


def to_html(value: Displayed) -> str:
    """A transformation, schedule, selector or feedback as HTML, as notebooks show it.

    Args:
      value: what a factory of this library, or of yours made with its decorators, returned.

    Returns:
      One `<div>` with its own style, to be put into a page or a report: a table of the arguments,
      in bold those that differ from their defaults, with what is inside of others to be unfolded
      and a small picture of each schedule.

    Raises:
      TypeError: `value` is none of these.
    """
    recipe = getattr(value, "recipe", None)
    if not isinstance(value, Displayed) or not isinstance(recipe, Recipe):
        raise TypeError(
            "`to_html(...)` shows transformations, schedules, selectors and feedbacks of this "
            f"library; got {check.brief(value)}."
        )
    body = _code(value) if isinstance(value, Selector) else _call(value, "", is_open=True)
    return f'<div class="gradxform"><style>{_STYLE}</style>{body}</div>'


def _call(value: Any, label: str, *, is_open: bool = False) -> str:
    """A call with its arguments under it, or on one line if it has none."""
    recipe: Recipe = value.recipe
    name = html.escape(written(recipe.factory))
    about = html.escape((inspect.getdoc(recipe.factory) or "").partition("\n")[0])
    head = f'{label}<b title="{about}"><code>{name}</code></b>'
    picture = f" {sparkline(value)}" if isinstance(value, StepFunction | Feedback) else ""
    rows = list(_rows(recipe))
    if not rows:
        return f"{head}<code>()</code>{picture}"
    rest = one_line(value, _LONGEST).removeprefix(written(recipe.factory))
    summary = f'{head}<code class="gx-call">{_escaped(rest)}</code>{picture}'
    return _unfolded(summary, rows, is_open)


def _unfolded(summary: str, rows: list[str], is_open: bool = True) -> str:
    return (
        f"<details{' open' if is_open else ''}><summary>{summary}</summary>"
        f"<table>{''.join(rows)}</table></details>"
    )


def _rows(recipe: Recipe) -> Iterator[str]:
    """A row for each argument; of what is given by position, for each item."""
    given = {name for name, _ in recipe.shown if name is not None}
    parameters = inspect.signature(recipe.factory).parameters
    for name, value in recipe.arguments.items():
        parameter = parameters[name]
        if parameter.kind is parameter.VAR_POSITIONAL:
            for index, item in enumerate(value):
                is_named = isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)
                label, inner = item if is_named and not _is_tx(item) else (str(index), item)
                yield _row(label, inner, is_given=True)
        else:
            is_scheduled = "Schedule" in str(parameter.annotation)
            yield _row(name, value, is_given=name in given, is_scheduled=is_scheduled)


def _row(name: str, value: Any, *, is_given: bool, is_scheduled: bool = False) -> str:
    label = html.escape(name)
    label = f"<b>{label}</b>" if is_given else f'<span class="gx-default">{label}</span>'
    if _is_call(value):
        inner = _call(value, f"{label} ", is_open=_is_tx(value))
        return f'<tr><td colspan="2">{inner}</td></tr>'
    if _holds_calls(value):
        return f'<tr><td colspan="2">{_container(value, label)}</td></tr>'
    shown = _code(value)
    shown = f"<b>{shown}</b>" if is_given else f'<span class="gx-default">{shown}</span>'
    if is_scheduled and callable(value):
        shown += f" {sparkline(value)}"
    if isinstance(value, Tunable):
        shown += " <small>in the state</small>"
    return f"<tr><td>{label}</td><td>{shown}</td></tr>"


def _container(value: Any, label: str) -> str:
    """A dict or list with calls inside: groups by name, with who is in them."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    return _unfolded(label, [_item(str(key), item) for key, item in items])


def _item(key: str, item: Any) -> str:
    is_pair = isinstance(item, tuple) and not _is_tx(item) and len(item) == 2
    if not is_pair or not _is_call(item[1]):
        return _row(key, item, is_given=True)
    who = f"<b>{html.escape(key)}</b> {_code(item[0])}"
    return f'<tr><td colspan="2">{who}{_call(item[1], "", is_open=True)}</td></tr>'


def _is_tx(value: Any) -> bool:
    return isinstance(value, optax.GradientTransformation)


def _is_call(value: Any) -> bool:
    """Whether a value was built by a call that has rows of its own."""
    is_built = isinstance(getattr(value, "recipe", None), Recipe)
    return is_built and isinstance(value, Displayed) and not isinstance(value, Selector | Length)


def _holds_calls(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_is_call(item) or _holds_calls(item) for item in value.values())
    is_list = isinstance(value, list | tuple) and not _is_tx(value)
    return is_list and any(_is_call(item) or _holds_calls(item) for item in value)


def _code(value: Any) -> str:
    return f"<code>{_escaped(one_line(value, _LONGEST))}</code>"


def _escaped(code: str) -> str:
    """Code as HTML that may be broken behind brackets."""
    return html.escape(code).replace("(", "(<wbr>")

"""A comparison as one HTML page that needs nothing else, and as a table for notebooks."""

import json
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..core.extra import require_extra
from ..core.public import FACTORIES
from ..core.words import printable
from ..inspection.drawing import STYLES
from . import panels, statistics
from .diagnose_comparison import diagnose_comparison
from .figure import band_note
from .recipes import recipe_record
from .report import columns, notes, score, setting_text, title, verdict
from .runs import CandidateResult, Outcome
from .strips import Strip, strips
from .svg import svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def page(comparison: Outcome) -> str:
    """The report of a comparison as an HTML page, see `Comparison.save_html`.

    Args:
      comparison: at least one candidate must have finished.
    """
    require_extra("compare", "jinja2", "matplotlib", "scipy")
    c = comparison
    colors = {name: str(style["color"]) for name, style in panels.styles(c).items()}
    lines = {color: f"var(--line-{i})" for i, (color, _) in enumerate(STYLES)}
    return _rendered(
        "page.html.jinja",
        c=c,
        title=title(c),
        verdict=verdict(c),
        rows=_rows(c),
        findings=list(diagnose_comparison(c)),
        notes=notes(c),
        band=band_note(c),
        fewest=statistics.FEWEST_SEEDS,
        curves=_curves(c),
        profiles=[_profiles(c, key) for key in _keys(c)],
        legend=[
            (name, lines[color], style["linestyle"] != "-", setting_text(c[name].chosen_setting))
            for (name, style), color in zip(panels.styles(c).items(), colors.values(), strict=True)
        ],
        cards=[_card(c, place, result) for place, result in enumerate(c.ranking)],
        details=_flat(c.details),
        search=_flat(c.search),
        environment=_flat(c.environment),
        made=_made(c.environment),
        runs=sum(result.diverged.size for result in c.results),
    )


def fragment(comparison: Outcome) -> str:
    """The table of a comparison as HTML with a style of its own, as notebooks show it."""
    require_extra("compare", "jinja2", "scipy")
    c = comparison
    return _rendered(
        "fragment.html.jinja",
        c=c,
        title=title(c),
        rows=_rows(c),
        notes=notes(c) if c.results else [],
    )


class _Row(NamedTuple):
    """A row of the table."""

    name: str
    cells: list[tuple[str, str, str]]  # class, header, text
    mark: str
    strip: Strip | None  # the test metric of each seed as a picture; None for a reference


class _Card(NamedTuple):
    """What the page says about one candidate."""

    result: CandidateResult
    place: int
    test: str
    tried: str  # the optimizer as it was given
    chosen: str  # to be copied
    config: str  # likewise, as JSON
    imports: str  # what the call needs
    pictures: list[str]
    settings: list[tuple[str, str, str, int]]  # setting, validation, test, runs diverged
    trials: list[dict[str, str]]


def _rendered(template: str, **context: Any) -> str:
    import jinja2

    folder = resources.files(__package__).joinpath("templates")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text("utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _marked_code
    return environment.get_template(template).render(context)


def _shown(value: Any) -> Any:
    """What a template writes: text of others without control characters, markup as it is."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return printable(value, keep="\n\t")
    return value


def _marked_code(text: str) -> Any:
    """A sentence as HTML, with what stands between backticks as code."""
    from markupsafe import Markup, escape

    parts = str(escape(printable(text, keep="\n"))).split("`")
    marked = [f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts)]
    return Markup("".join(marked))


def _rows(c: Outcome) -> list[_Row]:
    if not c.results:
        return []
    table = columns(c)
    pictures: list[Strip | None] = [*strips(c), *(None for _ in c.references)]
    shown = {  # on a narrow screen, what comes first is seen
        "test": table.test,
        "worse-by": table.worse_by,
        "chosen": table.chosen,
        "validation": table.validation,
        "steps": table.steps,
        "diverged": table.diverged,
        "ms": table.ms,
    }
    rows = []
    for i, picture in enumerate(pictures):
        cells = [
            (kind, " ".join(column.header.split()), column.cells[i])
            for kind, column in shown.items()
            if column is not None and any(column.cells)
        ]
        rows.append(_Row(table.optimizer.cells[i], cells, table.mark.cells[i], picture))
    return rows


def _keys(c: Outcome) -> list[str]:
    """The hyperparameters that a grid varies, the learning rate first."""
    names = [n for r in c.results for n, values in r.candidate.grid.items() if len(values) > 1]
    return sorted(dict.fromkeys(names), key=lambda name: name != "learning_rate")


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _curves(c: Outcome) -> Any:
    figure = _figure(5.4, 4.2)
    axes = figure.add_subplot()
    panels.draw_curves(axes, c)
    panels.scale(axes, c)
    panels.draw_references(axes, c, named=True)
    axes.set_ylabel(panels.metric_label(c))
    return _safe(svg(figure, f"{panels.metric_label(c)} while training, by optimizer"))


def _profiles(c: Outcome, key: str) -> tuple[str, Any]:
    figure = _figure(5.4, 4.2)
    axes = figure.add_subplot()
    panels.draw_profiles(axes, c, key)
    panels.scale(axes, c)
    panels.draw_references(axes, c, named=False)
    axes.set_ylabel(panels.metric_label(c))
    what = panels.words(key)
    return what, _safe(svg(figure, f"{panels.metric_label(c)} at the end by {what}"))


def _card(c: Outcome, place: int, result: CandidateResult) -> _Card:
    record = recipe_record(result, c.steps)
    config = record["chosen_config"]
    own = {"color": STYLES[1][0], "linestyle": "-", "linewidth": 1.6}
    style = panels.styles(c).get(result.name, own)
    keys = [key for key, values in result.candidate.grid.items() if len(values) > 1]
    keys += [
        k for k in dict.fromkeys(k for t in result.trials for k in t["setting"]) if k not in keys
    ]
    return _Card(
        result=result,
        place=place + 1,
        test=score(result.scores, c.percent),
        tried=record["recipe"],
        chosen=record["chosen_recipe"] or "",
        config="" if config is None else json.dumps(config, indent=2),
        imports=_imports(config),
        pictures=[_sensitivity(c, result, style, key) for key in keys],
        settings=[
            (
                setting_text(setting),
                score(result.final_validation[i], c.percent),
                score(result.test[i], c.percent),
                int(result.diverged[i].sum()),
            )
            for i, setting in enumerate(result.settings)
        ],
        trials=[{key: _text(value) for key, value in trial.items()} for trial in result.trials],
    )


def _sensitivity(c: Outcome, result: CandidateResult, style: panels.Style, key: str) -> Any:
    figure = _figure(3.6, 2.3)
    axes = figure.add_subplot()
    panels.draw_trials(axes, c, result.trials, style, key)
    if key in result.candidate.grid:
        panels.draw_profile(axes, c, result, style, key)
    panels.scale(axes, c)
    panels.over(axes, key)
    axes.set_ylabel(panels.metric_label(c), fontsize="small")
    return _safe(svg(figure, f"{result.name}: {panels.metric_label(c)} by {panels.words(key)}"))


def _safe(text: str) -> Any:
    """SVG as it is: matplotlib and `svg` have escaped what is in it."""
    from markupsafe import Markup

    return Markup(text)


def _imports(config: Mapping[str, Any] | None) -> str:
    """The line that imports what a call is made of; "" where it needs what is not the library's."""
    names = {*_called(config)} - {"number"}
    if not names or names & {"array", "function", "ordered"}:
        return ""
    if not all(name in FACTORIES or name == "tunable" for name in names):
        return ""
    roots = sorted({name.partition(".")[0] for name in names})
    return f"from gradxform import {', '.join(roots)}" if all(map(str.isidentifier, roots)) else ""


def _called(data: Any) -> Iterator[str]:
    if isinstance(data, Mapping):
        yield from (key[:-2] for key in data if key.endswith("()"))
    for item in (
        data.values() if isinstance(data, Mapping) else data if isinstance(data, list) else ()
    ):
        yield from _called(item)


def _flat(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values of plain data, as text; what is nested on one line."""
    return [(str(name).replace("_", " "), _text(value)) for name, value in data.items()]


def _made(environment: Mapping[str, Any]) -> str:
    """When, with what and on what it was made, in short."""
    versions, machine = (environment.get(part, {}) for part in ("versions", "machine"))
    packages = [f"{name} {versions[name]}" for name in ("gradxform", "jax") if versions.get(name)]
    device = f"on {machine['device']}" if machine.get("device") else ""
    parts = [str(environment.get("date", ""))[:10], *packages, device]
    return " · ".join(part for part in parts if part)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, float | np.floating):
        return f"{value:.5g}"
    return "not installed" if value is None else str(value)

"""The content of the page, computed from studies and rendered by the template page.html."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from lightning_modules.evaluation.significance import half_width
from lightning_modules.report.comparing import SEEN, compare_all, seed_range
from lightning_modules.report.curves import Curve, read_curves
from lightning_modules.report.failing import (
    MistakesError,
    by_distance,
    heat_map,
    most_wrong,
    pictures,
    read_mistakes,
    relation,
)
from lightning_modules.report.plots import differences_plot, net_plot, runs_plot, validation_plot
from lightning_modules.results.palette import COLOURS
from lightning_modules.results.runs import METRICS, spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lightning_modules.report.study import Net, StudyResults

REFRESH = 10  # seconds after which the page of a running study loads itself anew
NONE = "\N{EN DASH}"  # stands where a net has no such metric


@dataclass(frozen=True)
class Summary:
    """One metric over the runs of a net that did not diverge, as shares."""

    mean: float
    std: float | None
    low: float | None  # 95 % interval of the mean
    high: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary | None:
        """Of the runs' values, as shares; None if there are none."""
        if not values:
            return None
        mean, std = spread(values)
        if std is None:
            return cls(mean, None, None, None)
        width = half_width(values)
        return cls(mean, std, max(0.0, mean - width), min(1.0, mean + width))


def make_page(studies: Sequence[StudyResults], refresh: bool = False) -> str:
    """Make the page.

    Args:
        studies: What it is about; one at least.
        refresh: Whether it loads itself anew while one of them runs.

    Returns:
        HTML that refers to nothing outside.
    """
    nets = [net for study in studies for net in study.nets]
    table = {net.name: {name: Summary.of(net.results.errors(name)) for name in METRICS} for net in nets}
    known = [name for name in METRICS if any(row[name] for row in table.values())]
    errors = {net.name: net.results.errors() for net in nets}
    sound = [net for net in nets if net.results.sound]
    differences, unpaired = compare_all(nets)
    unfinished = [net for study in studies for net in study.unfinished]
    curves = {net.name: read_curves(net.folder) for net in [*nets, *unfinished]}
    return render(
        "page.html",
        studies=studies,
        refresh=REFRESH if refresh and any(study.running for study in studies) else None,
        epochs={name: len(found["train"].mean) if found else 0 for name, found in curves.items()},
        nets=nets,
        run_count=sum(len(net.runs) for net in nets),
        # Of training last: the report is about what was not learnt from.
        metrics={name: METRICS[name] for name in sorted(known, key=lambda name: name.startswith("train_"))},
        table=table,
        best=min(sound, key=lambda net: spread(net.results.errors())[0], default=None),
        diverged={net.name: len(net.runs) - len(net.results.sound) for net in nets},
        runs_plot=Markup(runs_plot(errors)) if sound else None,
        differences=differences,
        unpaired=unpaired,
        seen=f"{100 * SEEN:g}",
        differences_plot=Markup(differences_plot(differences)) if differences else None,
        curves=_curves(curves),
        failing=_failing(nets),
        settings=_settings(nets),
        packages=list(dict.fromkeys(name for study in studies for name in study.versions)),
        seed_range=seed_range,
        relation=relation,
    )


def render(template: str, **content: Any) -> str:
    """Fill one of the room's templates."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"percent": percent, "points": points, "p": p_text, "sure": sure}
    source = files("lightning_modules.report").joinpath(template).read_text(encoding="utf-8")
    return environment.from_string(source).render(**content)


def _curves(curves: Mapping[str, Mapping[str, Curve]]) -> dict[str, Any]:
    """Plots of the nets' curves, and the names of those that have none."""
    known = {name: found for name, found in curves.items() if "train" in found}
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(curves)}
    validated = {name: found["val"] for name, found in known.items() if "val" in found}
    top = max((_top(curve) for found in known.values() for curve in found.values()), default=1.0)
    return {
        "all": Markup(validation_plot(validated, colours)) if len(validated) > 1 else None,
        "single": [
            Markup(net_plot(name, number, found, top)) for number, (name, found) in enumerate(known.items())
        ],
        "missing": [name for name in curves if name not in known],
    }


def _top(curve: Curve) -> float:
    finite = [float(value) for value in curve.high if math.isfinite(value)]
    return 1.05 * max(finite, default=1.0)


def _failing(nets: Sequence[Net]) -> dict[str, Any]:
    """Each net's mistakes, and the reasons why some nets have none to show."""
    shown: dict[str, Any] = {}
    missing: dict[str, list[str]] = {}  # names by reason
    for net in nets:
        try:
            mistakes = read_mistakes(net)
        except MistakesError as error:
            missing.setdefault(str(error), []).append(net.name)
            continue
        rows = heat_map(mistakes)
        shown[net.name] = {
            "rows": rows,
            "wrong": int(mistakes.wrong.sum()),
            "pairs": int(mistakes.pairs.sum()),
            "most": most_wrong(rows),
            "distances": by_distance(rows),
            "highest": max(cell.error or 0.0 for row in rows for cell in row),
            "pictures": pictures(net, mistakes),
        }
    return {"shown": shown, "missing": missing}


def _settings(nets: Sequence[Net]) -> dict[str, dict[str, Any]]:
    """Settings that differ between the nets, (name to one value a net), and those that are the same."""
    names = dict.fromkeys(name for net in nets for name in net.settings)
    values = {name: [net.settings.get(name) for net in nets] for name in names}
    differ = {name: row for name, row in values.items() if any(value != row[0] for value in row)}
    same = {name: row[0] for name, row in values.items() if name not in differ and row[0] is not None}
    return {"differ": differ, "same": same}


def percent(share: float | None, digits: int = 2) -> str:
    """A share in percent.

    Args:
        share: The share; None is a dash.
        digits: After the point.
    """
    return NONE if share is None else f"{100 * share:.{digits}f}"


def points(difference: float) -> str:
    """A difference of shares in percent points, with its sign.

    Args:
        difference: Of two shares.
    """
    return f"{100 * difference:+.2f}".replace("-", "\N{MINUS SIGN}")


def p_text(p: float) -> str:
    """A p-value.

    Args:
        p: In [0, 1].
    """
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}" if p < 0.01 else f"{p:.2f}"


def sure(probability: float) -> str:
    """A probability in percent that is not rounded to certainty.

    Args:
        probability: In [0.5, 1].
    """
    return "> 99.9" if probability > 0.9995 else f"{100 * probability:.1f}"

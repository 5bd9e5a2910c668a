"""Plots as SVG that is part of the page: its text is the page's, in the colour of light and dark themes."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from markupsafe import escape
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from lightning_modules.results.palette import BLUE, COLOURS, ORANGE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.axes import Axes

    from lightning_modules.report.comparing import Difference
    from lightning_modules.report.curves import Curve

INK = "#010203"  # stands for the page's text colour, which no plot knows
STYLE: Any = {  # matplotlib's type is a literal of all its names
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # a folder's name may hold a $
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}
LINES = ("-", "--", "-.", ":")  # with six colours, twelve nets look different
STAGES = {"train": ("training", ORANGE, "--"), "val": ("validation", BLUE, "-")}  # label, colour, line
WIDE, NARROW = 4.8, 3.5  # inches: a phone's width, and one of several that stand side by side
RATIO = 8  # of the largest to the smallest, from which errors are drawn on a logarithmic axis


def runs_plot(errors: Mapping[str, Sequence[float]]) -> str:
    """The test errors of every run as a box a net.

    Args:
        errors: Net to its runs' errors, as shares; some may have none.
    """

    def draw(axis: Axes) -> None:
        axis.grid(axis="x", color=INK, alpha=0.15)
        for y, values in enumerate(errors.values()):
            if not values:
                continue
            percent, colour = 100 * np.array(values), COLOURS[y % len(COLOURS)]
            line: Any = {"color": colour, "linewidth": 1.4}
            axis.boxplot(
                percent,
                positions=[y],
                orientation="horizontal",
                widths=0.5,
                showfliers=False,  # all runs are drawn below
                boxprops=line,
                whiskerprops=line,
                capprops=line,
                medianprops=line,
            )
            spread = np.linspace(-0.13, 0.13, len(percent)) if len(percent) > 1 else np.zeros(1)
            axis.plot(percent.mean(), y, "D", color=INK, markersize=5)
            axis.plot(percent, y + spread, "o", color=colour, alpha=0.7, markersize=4.5, markeredgewidth=0)
        axis.set_yticks(range(len(errors)), [name.replace(": ", ":\n") for name in errors])
        axis.set_ylim(len(errors) - 0.5, -0.5)
        _error_axis(axis, "x", [value for values in errors.values() for value in values], "test error, %")

    height = 0.9 + 0.5 * len(errors)
    return _svg(draw, (WIDE, height), "runs", f"Box plot of the test errors of {', '.join(errors)}")


def differences_plot(differences: Sequence[Difference]) -> str:
    """Mean differences with their 95 % intervals.

    Args:
        differences: One at least.
    """

    def draw(axis: Axes) -> None:
        for y, d in enumerate(differences):
            axis.vlines(0, y - 0.15, y + 0.4, color=INK, linewidth=1)  # not through the names
            colour = COLOURS[0] if d.differs else "#8a8f98"
            width = 100 * d.test.half_width
            axis.errorbar(
                100 * d.test.mean, y + 0.12, xerr=width, fmt="o", color=colour, capsize=4, markersize=5
            )
            axis.text(0, y - 0.25, d.name, transform=axis.get_yaxis_transform(), fontsize=9)
        axis.set_yticks([])
        axis.spines["left"].set_visible(False)
        axis.set_ylim(len(differences) - 0.5, -0.7)
        axis.set_xlabel("difference of test errors, percent points")

    size = (WIDE, 0.7 + 0.45 * len(differences))
    return _svg(draw, size, "differences", "Differences of test errors with their 95 % intervals")


def validation_plot(curves: Mapping[str, Curve], colours: Mapping[str, str]) -> str:
    """The validation error of all nets in one plot.

    Args:
        curves: Net to its curve; one at least.
        colours: Net to colour.
    """

    def draw(axis: Axes) -> None:
        for name, curve in curves.items():
            _band(axis, curve, name, colours[name], LINES[list(colours).index(name) % len(LINES)])
        last = [float(curve.mean[-1]) for curve in curves.values()]
        _error_axis(axis, "y", last, "validation error, %")
        axis.set_xlabel("epoch")
        axis.grid(color=INK, alpha=0.15)
        assert isinstance(axis.figure, Figure)
        axis.figure.legend(fontsize=9, loc="outside lower center", ncols=2)

    height = 2.8 + 0.2 * ((len(curves) + 1) // 2)
    return _svg(draw, (WIDE, height), "validation", f"Validation error by epoch of {', '.join(curves)}")


def net_plot(name: str, number: int, curves: Mapping[str, Curve], top: float) -> str:
    """The training and the validation error of one net.

    Args:
        name: Its name.
        number: Its number on the page.
        curves: "train" and maybe "val" to curves.
        top: Where the axis ends, as a share; the same for nets that are to be compared.
    """

    def draw(axis: Axes) -> None:
        for stage, curve in curves.items():
            _band(axis, curve, *STAGES[stage])
        axis.set_ylim(0, 100 * top)
        axis.set_ylabel("error, %", fontsize=8)
        axis.set_xlabel("epoch", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.set_title(name, fontsize=9)
        axis.grid(color=INK, alpha=0.15)
        axis.legend(fontsize=8, loc="upper right")

    label = f"Error by epoch of {name}: {' and '.join(curves)}"
    return _svg(draw, (NARROW, 2.5), f"net{number}", label)


def _band(axis: Axes, curve: Curve, label: str, colour: str, line: str = "-") -> None:
    epochs = np.arange(1, len(curve.mean) + 1)
    marker = "o" if len(epochs) == 1 else None  # a line of one point is not seen
    axis.plot(epochs, 100 * curve.mean, line, color=colour, label=label, marker=marker)
    axis.fill_between(
        epochs, 100 * np.maximum(curve.low, 0), 100 * curve.high, color=colour, alpha=0.2, linewidth=0
    )


def _error_axis(axis: Axes, which: str, values: Sequence[float], label: str) -> None:
    """Errors from 0, or by their logarithms where they differ by much."""
    if min(values) > 0 and max(values) > RATIO * min(values):
        axis.set(**{f"{which}scale": "log"})
        ticks = getattr(axis, f"{which}axis")
        ticks.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ticks.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ticks.set_minor_formatter("")
        label += " (log)"
    else:
        axis.set(**{f"{which}lim": (0, None)})
    axis.set(**{f"{which}label": label})


def _svg(draw: Callable[[Axes], None], size: tuple[float, float], name: str, label: str) -> str:
    """Draw a figure, as markup for the page.

    Args:
        draw: Draws it.
        size: In inches.
        name: Unique on the page; begins the ids in the markup.
        label: What it shows, for those who hear the page.
    """
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        figure.patch.set_alpha(0)
        axis = figure.subplots()
        axis.patch.set_alpha(0)
        draw(axis)
        file = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(file, format="svg", metadata=nothing)
    markup = file.getvalue()
    markup = markup[markup.index("<svg") :].replace(INK, "currentColor").replace("xlink:href", "href")
    markup = re.sub(r'(id="|href="#|url\(#)', rf"\1{name}-", markup)
    box = re.search(r'viewBox="[^"]+"', markup)
    assert box
    start = f'<svg {box[0]} role="img" aria-label="{escape(label)}">'
    return re.sub(r"<svg[^>]*>", lambda _: start, markup, count=1)

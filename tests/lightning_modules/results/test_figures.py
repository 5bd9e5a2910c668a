"""Pictures show what they are given."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from lightning_modules.evaluation.mistakes import Mistakes
from lightning_modules.evaluation.mistakes_figure import mistakes_figure
from lightning_modules.results.figures import results_figure
from lightning_modules.results.table import PAPER_FIGURES


def made_up(
    images: NDArray[np.uint8], digits: Sequence[tuple[int, int]], log_odds: Sequence[float]
) -> Mistakes:
    counts = np.zeros((1, 10, 10), np.int64)
    run, odds = np.zeros(len(images), np.int64), np.array(log_odds, np.float32)
    return Mistakes(counts, counts, run, np.array(digits, np.uint8).reshape(-1, 2), odds, images)


def test_every_mistake_is_shown_with_its_digits_the_right_answer_and_the_nets() -> None:
    images = np.arange(8, dtype=np.uint8)[:, None, None, None] * np.ones((2, 14, 14), np.uint8)
    mistakes = made_up(images, [(3, 5)] * 7 + [(9, 2)], [logit(0.1)] * 7 + [logit(0.8)])
    (axis,) = mistakes_figure(mistakes).axes
    for shown, image in zip(axis.images, images, strict=True):
        pixels = shown.get_array()
        assert pixels is not None
        assert np.array_equal(pixels[:, :14], image[0])
        assert np.array_equal(pixels[:, 15:], image[1])
    captions = [text.get_text() for text in axis.texts]
    assert captions == ["is 3 ≤ 5, says > (90%)"] * 7 + ["is 9 > 2, says ≤ (80%)"]


def test_a_perfect_net_has_an_empty_picture() -> None:
    none = made_up(np.empty((0, 2, 14, 14), np.uint8), [], [])
    assert not any(axis.images for axis in mistakes_figure(none).axes)


def test_the_results_show_every_run_and_both_means() -> None:
    figure = results_figure({"cnn": [0.1, 0.2], "auxiliary": [0.03, 0.05]}, PAPER_FIGURES, "title")
    (axis,) = figure.axes
    texts = {text.get_text() for text in axis.texts}
    assert texts == {"15.0", "17.0", "4.0", "15.2\na mistake"}
    dots = [line.get_ydata() for line in axis.lines if len(np.atleast_1d(line.get_ydata())) == 2]
    assert any(np.allclose(dot, [10, 20]) for dot in dots)


def test_a_model_whose_runs_all_diverged_has_a_place_and_no_mean() -> None:
    counts = {"cnn": "0 of 2", "auxiliary": "2 of 3"}
    (axis,) = results_figure({"cnn": [], "auxiliary": [0.03, 0.05]}, {}, "title", counts).axes
    assert {text.get_text() for text in axis.texts} == {"4.0"}
    assert [label.get_text() for label in axis.get_xticklabels()] == ["cnn\n(all diverged)", "auxiliary"]
    legend = axis.get_legend()
    assert legend is not None
    assert "ours: mean ± std, n = 2 of 3" in [text.get_text() for text in legend.get_texts()]
    assert results_figure({"cnn": []}, {}, "title").axes[0].get_legend() is None

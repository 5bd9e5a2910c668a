"""Pictures show what they are given."""

import numpy as np

from lightning_modules.callbacks import Mistake
from lightning_modules.figures import mistakes_figure, results_figure
from lightning_modules.results import PAPER_FIGURES


def test_every_mistake_is_shown_with_its_digits_the_right_answer_and_the_nets() -> None:
    images = [np.full((2, 14, 14), value, np.float32) for value in range(8)]
    mistakes = [Mistake(image, (3, 5), 0.1) for image in images[:7]] + [Mistake(images[7], (9, 2), 0.8)]
    axes = [axis for axis in mistakes_figure(mistakes).axes if axis.images]
    for axis, image in zip(axes, images, strict=True):
        shown = axis.images[0].get_array()
        assert shown is not None
        assert np.array_equal(shown[:, :14], image[0])
        assert np.array_equal(shown[:, 15:], image[1])
    assert axes[0].get_title() == "is 3 ≤ 5, says > (90%)"
    assert axes[7].get_title() == "is 9 > 2, says ≤ (80%)"


def test_a_perfect_net_has_an_empty_picture() -> None:
    assert not any(axis.images for axis in mistakes_figure([]).axes)


def test_the_results_show_every_run_and_both_means() -> None:
    figure = results_figure({"cnn": [0.1, 0.2], "auxiliary": [0.03, 0.05]}, PAPER_FIGURES, "title")
    (axis,) = figure.axes
    texts = {text.get_text() for text in axis.texts}
    assert texts == {"15.0", "17.0", "4.0", "15.2"}
    dots = [line.get_ydata() for line in axis.lines if len(np.atleast_1d(line.get_ydata())) == 2]
    assert any(np.allclose(dot, [10, 20]) for dot in dots)

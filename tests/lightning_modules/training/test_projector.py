"""TensorBoard's projector: posteriors of test digits as they were while the first run was trained."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.plugins.projector.projector_plugin import ProjectorConfig, text_format

import train
from datamodules import load_digits
from lightning_modules import PlainCNN
from lightning_modules.evaluation.probing import class_logits
from lightning_modules.models.loading import load_model
from lightning_modules.results.tensorboard import EpochMetrics, StudyLog
from lightning_modules.training.projector import is_noted

TINY = ["--accelerator", "cpu", "--train_pairs", "60", "--val_pairs", "20", "--test_pairs", "40"]
TINY += ["--runs", "3", "--max_epochs", "4", "--replicas", "2", "--model", "weight_sharing"]


def test_epochs_come_closer_together_where_a_net_learns_most() -> None:
    assert [epoch for epoch in range(101) if is_noted(epoch)] == [0, 1, 2, 5, 10, 20, 50, 100]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a study of one process."""
    log_dir = tmp_path_factory.mktemp("alone")
    train.main([*TINY, "--workers", "1", "--log_dir", str(log_dir), "--name", "study"])
    return log_dir / "study" / "weight_sharing"


def test_the_list_names_epochs_and_the_last_is_the_trained_nets(alone: Path) -> None:
    config = text_format.Parse((alone / "projector_config.pbtxt").read_text(), ProjectorConfig())
    names = [embedding.tensor_name for embedding in config.embeddings]
    assert names == [f"posteriors, epoch {epoch:03}" for epoch in (0, 1, 2, 4)]
    tables = [np.loadtxt(alone / embedding.tensor_path) for embedding in config.embeddings]
    for earlier, later in zip([None, *tables[:-1]], tables, strict=True):
        assert later.shape == (1000, 10)
        assert later.sum(1) == pytest.approx(1, abs=1e-3)
        assert earlier is None or not np.array_equal(earlier, later)
    _, test = load_digits()
    pairs = test.images[:1000].unsqueeze(1).expand(-1, 6, 14, 14)
    with torch.no_grad():
        said = load_model(alone / "checkpoint.ckpt").eval()(pairs).digits[:, 0, 0]
    assert tables[-1] == pytest.approx(said.softmax(-1).numpy(), abs=1e-3)


def test_of_two_trunks_the_first_one_reads_the_digits() -> None:
    """The recipe `modern` has two for `cnn`, with ten outputs each."""
    module, (_, test) = PlainCNN(seed=[0, 1], head="exact", branches="separate").eval(), load_digits()
    with torch.no_grad():
        said = module(test.images[:10].unsqueeze(1).expand(-1, 4, 14, 14)).digits[:, 1, 0]
    torch.testing.assert_close(class_logits(module, 1, test.images[:10]), said)


def test_each_digit_has_its_label_and_its_image(alone: Path) -> None:
    _, test = load_digits()
    assert np.loadtxt(alone / "projector" / "labels.tsv").tolist() == test.labels[:1000].tolist()
    square = np.asarray(Image.open(alone / "projector" / "digits.png"))
    assert square.shape == (32 * 14, 32 * 14)
    for number in (0, 31, 32, 999):
        row, column = divmod(number, 32)
        image = square[14 * row : 14 * row + 14, 14 * column : 14 * column + 14]
        assert np.array_equal(image, test.images[number].round())


def files(folder: Path) -> dict[str, bytes]:
    paths = [folder / "projector_config.pbtxt", *(folder / "projector").iterdir()]
    return {path.name: path.read_bytes() for path in paths}


@pytest.mark.parametrize(
    "flags", [pytest.param(["--workers", "2"], marks=pytest.mark.slow), ["--devices", "2"]]
)
def test_workers_and_ranks_leave_the_same(flags: list[str], alone: Path, tmp_path: Path) -> None:
    train.main([*TINY, *flags, "--log_dir", str(tmp_path), "--name", "study"])
    assert files(tmp_path / "study" / "weight_sharing") == files(alone)


def test_a_study_that_is_resumed_leaves_the_same(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = [
        *TINY,
        "--workers",
        "1",
        "--checkpoint_every",
        "0",
        "--log_dir",
        str(tmp_path),
        "--name",
        "study",
    ]

    def stop_after_three(log: StudyLog, first: int, metrics: EpochMetrics) -> None:
        if metrics.epoch == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(StudyLog, "add", stop_after_three)
        with pytest.raises(SystemExit):
            train.main(flags)
    train.main([*flags, "--resume"])
    assert files(tmp_path / "study" / "weight_sharing") == files(alone)

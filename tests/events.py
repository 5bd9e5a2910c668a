"""What TensorBoard would show of a run folder."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def events(run_folder: Path) -> EventAccumulator:
    """All that was logged, also what was logged again."""
    sizes = {"scalars": 0}  # 0: all
    return EventAccumulator(str(run_folder), size_guidance=sizes, purge_orphaned_data=False).Reload()


def scalars(run_folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values by tag."""
    logged = events(run_folder)
    tags = logged.Tags()["scalars"]
    return {tag: [(event.step, event.value) for event in logged.Scalars(tag)] for tag in tags}

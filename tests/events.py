"""What TensorBoard would show of a run folder."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def scalars(run_folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values by tag, also of what was logged again."""
    events = EventAccumulator(str(run_folder), size_guidance={"scalars": 0}, purge_orphaned_data=False)
    events.Reload()
    tags = events.Tags()["scalars"]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}

"""The garbage collector rests during imports, and works before and after."""

import gc

import pytest

from lightning_modules.command import cli
from lightning_modules.command.collector import resting


@pytest.mark.parametrize("block", [resting, cli.imports])
def test_nothing_is_collected_in_a_block_of_imports_and_all_is_as_before_after_it(block: object) -> None:
    assert callable(block)
    with block():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count()  # what was imported is skipped


def test_a_collector_that_the_caller_had_switched_off_stays_off() -> None:
    gc.disable()
    try:
        with resting():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_collector_works_again_where_an_import_fails() -> None:
    with pytest.raises(ImportError), cli.imports():
        raise ImportError
    assert gc.isenabled()

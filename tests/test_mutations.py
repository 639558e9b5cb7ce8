"""The deliberate faults of tests/mutations.py can still be made: code that moves takes them along."""

from collections import Counter

import pytest

import mutations


@pytest.mark.parametrize("fault", mutations.FAULTS, ids=lambda fault: fault.name)
def test_every_fault_has_its_place_once_and_is_valid_python(fault):
    assert mutations.changed(fault)
    assert fault.likely or fault.file in mutations.LIKELY


def test_likely_tests_exist():
    named = {name for fault in mutations.FAULTS for name in fault.likely or mutations.LIKELY[fault.file]}
    assert named <= mutations.test_files(mutations.ROOT).keys()


def test_names_are_of_one_fault_each():
    assert max(Counter(fault.name for fault in mutations.FAULTS).values()) == 1


def test_a_place_that_has_moved_is_told(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    with pytest.raises(ValueError, match=r"moved: a\.py has 0 times, not once"):
        mutations.changed(mutations.Fault("moved", "a.py", "y = 1", "y = 2", "nothing"), tmp_path)

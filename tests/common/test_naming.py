"""Names become objects, and errors list the names."""

from dataclasses import dataclass

import pytest

from pathattr import InvalidInput
from pathattr.common.names import named, one_of


class Fruit:
    pass


@dataclass
class Apple(Fruit):
    colour: str = "red"


TABLE = {"apple": Apple, "green apple": lambda: Apple("green"), "pear": Fruit}


def test_names_are_looked_up_and_objects_pass():
    mine = Apple("yellow")
    assert named("fruit", mine, TABLE, Fruit) is mine
    assert named("fruit", "apple", TABLE, Fruit) == Apple()
    assert named("fruit", "green apple", TABLE, Fruit) == Apple("green")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("aple", "unknown fruit 'aple'; the names are 'apple', 'green apple', 'pear'. Did you mean 'apple'?"),
        ("zzz", "unknown fruit 'zzz'; the names are 'apple', 'green apple', 'pear'."),
        ("", "unknown fruit ''; the names are 'apple', 'green apple', 'pear'."),
        (Apple, "fruit=Apple is a class; pass an object: Apple()"),
        (3, "fruit must be a Fruit or one of 'apple', 'green apple', 'pear'; got 3"),
        (None, "fruit must be a Fruit or one of 'apple', 'green apple', 'pear'; got None"),
        (int, "fruit must be a Fruit or one of 'apple', 'green apple', 'pear'; got <class 'int'>"),
    ],
)
def test_everything_else_is_refused_with_the_names(given, said):
    with pytest.raises(InvalidInput) as caught:
        named("fruit", given, TABLE, Fruit)
    assert str(caught.value) == said


@pytest.mark.parametrize("given", ["three", 1, None, [], {}])
def test_one_of_lists_the_names(given):
    one_of("count", "two", ("one", "two"))
    with pytest.raises(InvalidInput, match=r"^count must be one of 'one', 'two'; got ") as caught:
        one_of("count", given, ("one", "two"))
    assert str(caught.value).endswith(repr(given))

"""What is drawn belongs to examples: a part of a batch draws the rows that the whole batch would have drawn for it."""

import ast
from pathlib import Path

import pytest
import torch

from recast.models import draws
from recast.models.draws import Dropout, RandomState, Rows, drawn_for

MODELS = Path(draws.__file__).parent
DRAWING = {"rand", "randn", "randint", "rand_like", "randn_like", "randperm", "multinomial", "bernoulli", "dropout"}
DRAWING |= {"Dropout", "Dropout2d", "uniform_", "bernoulli_", "random_"}
ROWS = Rows(torch.tensor([1, 3]), 5)
PIXELWISE = torch.zeros(5, 4, 3, 2).contiguous(memory_format=torch.channels_last)
WAYS = {
    "randn": lambda n: draws.randn(n, 17),
    "rand": lambda n: draws.rand(n, 2, 3),
    "randint": lambda n: draws.randint(100, n, 7),
    "randn_like": lambda n: draws.randn_like(torch.zeros(n, 20)),
    "rand_like, channels last": lambda n: draws.rand_like(PIXELWISE[:n]),
    "dropout": lambda n: Dropout(0.5)(torch.ones(n, 3, 2, 2)),
    "dropout, channels last": lambda n: Dropout(0.5)(PIXELWISE[:n] + 1),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_part_draws_its_rows_of_the_whole(way):
    torch.manual_seed(0)
    whole = WAYS[way](5)
    torch.manual_seed(0)
    with drawn_for(ROWS):
        part = WAYS[way](2)
    assert torch.equal(part, whole[ROWS.places])
    assert not torch.equal(part[0], part[1])


def test_examples_that_stand_twice_in_a_tensor_draw_for_each_place():
    """As where a network is given two versions of a batch at once; three rows for two examples make no sense."""
    torch.manual_seed(0)
    whole = draws.rand(10, 3)
    torch.manual_seed(0)
    with drawn_for(ROWS):
        part = draws.rand(4, 3)
    assert torch.equal(part, whole[[1, 3, 6, 8]])
    with drawn_for(ROWS), pytest.raises(ValueError, match="3 rows are drawn for 2 examples"):
        draws.rand(3)


def test_a_restored_state_draws_the_same_again():
    state = RandomState.now(torch.device("cpu"))
    first = torch.rand(3)
    state.restore()
    assert torch.equal(torch.rand(3), first)


def test_nothing_is_dropped_where_nothing_is_learned():
    x = torch.rand(2, 4)
    with drawn_for(ROWS):
        assert torch.equal(Dropout(0.5).eval()(x), x)


def drawn_elsewhere(path):
    """Calls of torch that draw while a network trains, by line: not its initial weights, nor from a generator given."""
    tree = ast.parse(path.read_text())
    first = [f for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) and f.name.startswith("__init__")]
    initial = {id(node) for f in first for node in ast.walk(f) if "Dropout" not in getattr(node, "attr", "")}
    for node in ast.walk(tree):
        called = node.func if isinstance(node, ast.Call) else None
        if not isinstance(called, ast.Attribute) or called.attr not in DRAWING or id(called) in initial:
            continue
        of = ast.unparse(called.value)
        if of not in ("draws", "rng") and not any(keyword.arg == "generator" for keyword in node.keywords):
            yield node.lineno


def test_recipes_losses_and_networks_draw_nowhere_else():
    """Else two workers would draw the same numbers for different examples."""
    files = [p for room in ("recipes", "losses", "networks") for p in (MODELS / room).glob("*.py")]
    assert len(files) > 40
    assert {p.name: found for p in files if (found := list(drawn_elsewhere(p)))} == {}

"""The solver: as good as trying every choice, the same each time."""

import random
from itertools import product

import pytest

from onnx_opt.layout.mincut import FEW, solve
from onnx_opt.layout.problem import FIXED, Problem


def random_problem(seed: int, sites: int, levels: int = 3, most: int = 8) -> Problem:
    """Sites joined by tensors with up to four readers, some of them fixed; small weights make many ties."""
    draw = random.Random(seed)
    problem = Problem(levels)
    weight = lambda: tuple(draw.randrange(most) for _ in range(levels))  # noqa: E731
    for _ in range(sites):
        biased = draw.random() < 0.5
        problem.site(weight() if biased else None, weight() if draw.random() < 0.5 else None)
    ends = [*range(sites), *FIXED]
    for _ in range(draw.randrange(1, 2 * sites + 2)):
        problem.edge(draw.choice(ends), [draw.choice(ends) for _ in range(draw.randrange(1, 5))], weight())
    return problem


def cheapest(problem: Problem) -> tuple[int, ...]:
    return min(problem.cost(forms) for forms in product((0, 1), repeat=len(problem.bias)))


@pytest.mark.parametrize("block", range(8))
def test_as_good_as_trying_every_choice(block):
    for seed in range(50 * block, 50 * block + 50):
        problem = random_problem(seed, sites=1 + seed % 9)
        assert problem.cost(solve(problem)) == cheapest(problem), seed


@pytest.mark.parametrize("block", range(4))
def test_few_sites_are_tried_in_every_combination(block, monkeypatch):
    for seed in range(50 * block, 50 * block + 50):
        problem = random_problem(seed, sites=1 + seed % FEW, most=3)
        tried = solve(problem)
        monkeypatch.setattr("onnx_opt.layout.mincut.FEW", 0)
        assert solve(problem) == tried, seed
        monkeypatch.undo()


def test_every_level_counts():
    problem = Problem(levels=2)
    a, b = problem.site(), problem.site()
    problem.edge(FIXED[0], [a], (5, 0))
    problem.edge(a, [b], (5, 1))
    problem.edge(b, [FIXED[1]], (5, 2))
    assert problem.cost(solve(problem)) == (5, 0)
    assert solve(problem) == [1, 1]


def test_one_copy_serves_all_readers():
    problem = Problem(levels=1)
    site = problem.site()
    problem.edge(FIXED[0], [site], (4,))
    problem.edge(site, [FIXED[1], FIXED[1], FIXED[1]], (3,))
    assert solve(problem) == [0]
    assert problem.cost([0]) == (3,)


@pytest.mark.parametrize("unit", [1, 2**20 + 7, 2**40])
def test_weights_of_any_size(unit):
    # SciPy's flows wrap around in silence when capacities exceed 32 bits.
    problem = Problem(levels=1)
    sites = [problem.site() for _ in range(20)]
    for index, site in enumerate(sites):
        problem.edge(FIXED[0], [site], (1000 * unit,))
        problem.edge(site, [FIXED[1]], ((999 + index % 3) * unit,))
    expected = [0 if 999 + index % 3 < 1000 else 1 for index in range(20)]
    found = solve(problem)
    assert problem.cost(found) == problem.cost(expected)


def test_no_sites():
    problem = Problem(levels=1)
    problem.edge(FIXED[0], [FIXED[1]], (3,))
    assert solve(problem) == []
    assert problem.cost([]) == (3,)


def test_no_single_change_makes_a_large_region_better():
    draw = random.Random(0)
    problem = Problem(levels=3)
    sites = [problem.site((0, 0, draw.randrange(2)), (0, 0, draw.randrange(2))) for _ in range(4_000)]
    for index, site in enumerate(sites):
        readers = [draw.randrange(index + 1, index + 20) for _ in range(draw.randrange(1, 3))]
        readers = [reader for reader in readers if reader < len(sites)]
        if draw.random() < 0.2:
            readers.append(draw.choice(FIXED))
        problem.edge(site, readers, (draw.randrange(1, 10**6) * 4096, 1, 0))
    first = solve(problem)
    assert first == solve(problem)
    for index in draw.sample(range(len(sites)), 50):
        other = list(first)
        other[index] = 1 - other[index]
        assert problem.cost(first) <= problem.cost(other)

"""A bounded part of the fuzzing; `python tests/fuzz/fuzz.py load --seconds 3600` goes on, guided by coverage."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from attack import mutate, seeds, targets

SEEDS = 2_000
PARTS = 6
REGRESSIONS = sorted((Path(__file__).parent / "regressions").iterdir())


@pytest.mark.parametrize("name", seeds.models())
def test_where_fuzzing_starts(name: str) -> None:
    targets.load_model(seeds.models()[name])


@pytest.mark.parametrize("file", REGRESSIONS, ids=lambda file: file.name)
def test_what_fuzzing_found(file: Path) -> None:
    targets.TARGETS[file.name.partition("-")[0]](file.read_bytes())


@pytest.mark.parametrize("part", range(PARTS))
def test_damaged_models(part: int) -> None:
    starts = list(seeds.models().values())
    for seed in range(part, SEEDS, PARTS):
        random = Random(seed)
        data = mutate.model(random.choice(starts), random)
        try:
            targets.load_model(data)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error


def test_damaged_pipelines() -> None:
    for seed in range(5_000):
        random = Random(seed)
        text = random.choice(seeds.PIPELINES).encode()
        for _ in range(random.randrange(1, 4)):
            text = mutate.raw(text, random)
        try:
            targets.parse_pipeline(text)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {text!r}") from error


def test_a_seed_gives_the_same_damage() -> None:
    start = seeds.models()["network"]
    assert mutate.model(start, Random(5)) == mutate.model(start, Random(5))
    assert len({mutate.model(start, Random(seed)) for seed in range(50)}) > 40

"""Files of prices: what is read is what was written, and what is wrong is told by its line."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.price_file import COLUMNS, PriceFileError, PriceRow, read_prices, write_prices

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HEAD = "provider,model,valid_from,usd_per_million_input,usd_per_image\n"

usd = st.decimals(min_value=0, max_value=1_000, places=8)
names = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1)
rows = st.builds(
    PriceRow.model_construct,
    provider=st.sampled_from(["openai", "google", "fal"]),
    model=names.filter(lambda name: name == name.strip()),
    valid_from=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    usd_per_million_input=usd,
    usd_per_million_cached_input=st.none() | usd,
    usd_per_second=st.none() | usd,
    source=st.just("a, \"quoted\" 'source'"),
)


def read(text: str) -> list[PriceRow]:
    return read_prices(text, valid_from=NOW, source="file.csv")


def problems_of(text: str) -> tuple[str, ...]:
    with pytest.raises(PriceFileError) as raised:
        read(text)
    assert "nothing was imported" in str(raised.value)
    return raised.value.problems


@given(st.lists(rows, min_size=1, unique_by=lambda row: (row.provider, row.model, row.valid_from)))
def test_what_was_written_is_read(prices: list[PriceRow]) -> None:
    assert read(write_prices(price.model_dump() for price in prices)) == prices


def test_what_a_row_leaves_out_is_the_imports_and_lines_may_be_blank() -> None:
    (first, second) = read(f"\ufeff{HEAD}\n Gemini , m ,,0.5,\n,,,,\nfal,fal-ai/flux,2026-01-31,,0.04\n")
    assert (first.provider, first.model, first.valid_from, first.source) == ("google", "m", NOW, "file.csv")
    assert (first.usd_per_million_input, first.usd_per_image) == (Decimal("0.5"), None)
    assert second.valid_from == datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("openai,m,0001-01-01T00:00+10:00,1,", "valid_from: 0001-01-01T00:00:00+10:00 is too long ago"),
        ("openai,m,9999-12-31T23:00-10:00,1,", "too far away"),
        ("openai,m,,1e-20000,", "usd_per_million_input: Decimal input should have no more than 18"),
        ("openai,m\x00,,1,", "model: 'm\\x00' has characters that can't be printed"),
        ("openai,m,,abc,", "usd_per_million_input: Input should be a valid decimal"),
        ("openai,m,,-1,", "usd_per_million_input: Input should be greater than or equal to 0"),
        ("openai,m,,NaN,", "usd_per_million_input: Input should be a finite number"),
        ("openai,m,yesterday,1,", "valid_from: 'yesterday' is no date"),
        ("openai,m,20260230,1,", "valid_from: '20260230' is no date"),
        ("openai,,,1,", "model: Field required"),
        (",m,,1,", "provider: Field required"),
        ("openai,m,,,", "there is no price"),
        ("openai,m,,1,1,1", "more cells than columns"),
        ('openai,"m"x,,1,', "it is no CSV"),
    ],
    ids=[
        "early",
        "far",
        "tiny",
        "unprintable",
        "word",
        "negative",
        "nan",
        "time",
        "day",
        "model",
        "provider",
        "nothing",
        "cells",
        "quotes",
    ],
)
def test_a_row_that_is_wrong_is_told_by_its_line(row: str, problem: str) -> None:
    (told,) = problems_of(f"{HEAD}openai,fine,,1,\n{row}\n")
    assert told.startswith("line 3")
    assert problem in told


def test_all_rows_that_are_wrong_are_told_at_once() -> None:
    told = problems_of(f"{HEAD}openai,m,,x,y\nopenai,n,,1,\nOpenAI,n,,2,\n")
    assert [line.partition(":")[0] for line in told] == [
        "line 2, usd_per_million_input",
        "line 2, usd_per_image",
        "line 4",
    ]
    assert "openai/n has a price from then on already" in told[2]


def test_columns_that_nobody_knows_are_told_with_those_there_may_be() -> None:
    unknown, missing, known = problems_of("provider;model;price\nopenai;m;1\n")
    assert "unknown: provider;model;price" in unknown
    assert "missing: provider, model" in missing
    assert all(name in known for name in COLUMNS)
    assert "there twice: model" in problems_of("provider,model,model\n")[0]


def test_a_file_without_prices_is_refused() -> None:
    assert problems_of(HEAD) == ("there is no price in it",)
    assert "missing: provider, model" in problems_of("")[0]

"""Files of prices: CSV with the columns of worker.model_prices, read strictly, row by row."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from app.errors import SettingsError
from app.providers.catalog import provider_name


class PriceFileError(SettingsError):
    """A file of prices can't be imported; `problems` are all of them, each with its line."""

    def __init__(self, problems: Sequence[str]) -> None:
        count = f"{len(problems)} problems" if len(problems) > 1 else "1 problem"
        super().__init__(f"nothing was imported: the file has {count}")
        self.problems = tuple(problems)


def read_time(text: str) -> datetime:
    """A date or a time; of UTC where no zone is named. Raises `ValueError`."""
    moment = datetime.fromisoformat(text.strip())
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _time(value: object) -> object:
    try:
        return read_time(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError(f"{value!r} is no date such as 2026-01-31 or 2026-01-31T12:00:00Z") from None


def _near(moment: datetime) -> datetime:
    if not 1970 <= moment.year < 3000:
        raise ValueError(f"{moment.isoformat()} is too long ago, or too far away")
    return moment


def _printable(name: str) -> str:
    if not name.isprintable():
        raise ValueError(f"{name!r} has characters that can't be printed")
    return name


Usd = Annotated[Decimal | None, Field(ge=0, le=1_000_000, decimal_places=18, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]


class PriceRow(BaseModel):
    """One price, by the names of the table's columns; a price that isn't told isn't known."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    provider: Annotated[Name, BeforeValidator(lambda name: provider_name(name or ""))]
    model: Name
    valid_from: Annotated[datetime, BeforeValidator(_time), AfterValidator(_near)]
    usd_per_million_input: Usd = None
    usd_per_million_cached_input: Usd = None
    usd_per_million_cache_write: Usd = None
    usd_per_million_output: Usd = None
    usd_per_million_reasoning: Usd = None
    usd_per_image: Usd = None
    usd_per_second: Usd = None
    usd_per_request: Usd = None
    source: Name

    @model_validator(mode="after")
    def _has_a_price(self) -> PriceRow:
        prices = (self.usd_per_image, self.usd_per_second, self.usd_per_request)
        if all(usd is None for usd in (self.usd_per_million_input, self.usd_per_million_output, *prices)):
            raise ValueError("there is no price: input, output, image, second or request")
        return self


COLUMNS = tuple(PriceRow.model_fields)


def read_prices(text: str, *, valid_from: datetime, source: str) -> list[PriceRow]:
    """The prices of a file; `valid_from` and `source` are those of rows that name none.

    Raises `PriceFileError` that tells of every row that is wrong.
    """
    problems: list[str] = []
    prices: dict[tuple[str, str, datetime], PriceRow] = {}
    for line, cells in _rows(text):
        try:
            price = PriceRow.model_validate({"valid_from": valid_from, "source": source, **cells})
        except ValidationError as error:
            problems += (f"line {line}{_of(fault)}" for fault in error.errors())
            continue
        if prices.setdefault((price.provider, price.model, price.valid_from), price) is not price:
            problems.append(f"line {line}: {price.provider}/{price.model} has a price from then on already")
    if not prices and not problems:
        problems.append("there is no price in it")
    if problems:
        raise PriceFileError(problems)
    return list(prices.values())


def write_prices(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows of the table as such a file."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(row[name]) for name in COLUMNS} for row in rows)
    return text.getvalue()


def _rows(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Line and cells of every row, without those that are blank."""
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    try:
        _check_columns(reader.fieldnames or ())
        for row in reader:
            if None in row:
                raise PriceFileError([f"line {reader.line_num}: it has more cells than columns"])
            cells = {name.strip(): cell.strip() for name, cell in row.items() if cell and cell.strip()}
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise PriceFileError([f"line {reader.line_num + 1}: it is no CSV: {error}"]) from None


def _check_columns(names: Sequence[str]) -> None:
    stripped = [name.strip() for name in names]
    unknown = [name for name in stripped if name not in COLUMNS]
    missing = [name for name in ("provider", "model") if name not in stripped]
    twice = {name for name in stripped if stripped.count(name) > 1}
    problems = [
        f"line 1: columns that are {problem}: {', '.join(found)}"
        for problem, found in (("unknown", unknown), ("missing", missing), ("there twice", sorted(twice)))
        if found
    ]
    if problems:
        raise PriceFileError([*problems, f"line 1: there may be {', '.join(COLUMNS)}"])


def _of(fault: Any) -> str:
    """What is wrong with a cell, or with the whole row."""
    what = fault["msg"].removeprefix("Value error, ")
    return f", {fault['loc'][0]}: {what}" if fault["loc"] else f": {what}"


def _cell(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return value.isoformat() if isinstance(value, datetime) else "" if value is None else str(value)

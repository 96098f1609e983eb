"""What calls cost at the platform's list prices, in US dollars; for people, not for bills."""

from __future__ import annotations

import csv
from decimal import Decimal
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, field_validator

_MICRO_DOLLAR = Decimal("0.000001")


class Price(BaseModel):
    """The price of a model: per 1,000 tokens, or per image."""

    model_key: str
    usd_per_1k_in: Decimal | None
    usd_per_1k_out: Decimal | None
    usd_per_image: Decimal | None

    @field_validator("usd_per_1k_in", "usd_per_1k_out", "usd_per_image", mode="before")
    @classmethod
    def _is_none_if_blank(cls, value: str) -> str | None:
        return value or None


def cost_usd(model_key: str, tokens_in: int, tokens_out: int, orders: int) -> Decimal | None:
    """What so many tokens and ordered images cost; None where the catalogue has no price for the model."""
    price = _prices().get(model_key)
    if price is None:
        return None
    tokens = tokens_in * (price.usd_per_1k_in or 0) + tokens_out * (price.usd_per_1k_out or 0)
    return (tokens / Decimal(1000) + orders * (price.usd_per_image or 0)).quantize(_MICRO_DOLLAR)


@cache
def _prices() -> dict[str, Price]:
    text = files("app.providers").joinpath("prices.csv").read_text(encoding="utf-8")
    prices = [Price.model_validate(row) for row in csv.DictReader(text.splitlines())]
    return {price.model_key: price for price in prices}

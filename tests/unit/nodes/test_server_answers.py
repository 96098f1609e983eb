"""What nodes read in the bodies of servers that mark or mislabel their texts."""

from __future__ import annotations

import codecs
from typing import Any

import pytest
from pydantic import BaseModel

from app.http import Response
from app.nodes.messages.chat import glance
from app.nodes.services.answers import words_of
from app.nodes.web.answers import read_content

BODY = b'{"message": "\xc3\xa4"}'
UTF16 = '{"message": "ä"}'.encode("utf-16")


def answer(body: bytes, content_type: str = "application/json") -> Response:
    return Response(200, {"content-type": content_type}, body, False, 1, "https://example.org/")


class Said(BaseModel):
    message: str


@pytest.mark.parametrize(
    ("body", "content_type", "value"),
    [
        (BODY, "application/json", {"message": "ä"}),
        (codecs.BOM_UTF8 + BODY, "application/json", {"message": "ä"}),
        (codecs.BOM_UTF8 + BODY, "application/problem+json; charset=utf-8", {"message": "ä"}),
        (UTF16, "application/json; charset=utf-8", {"message": "ä"}),
        (codecs.BOM_UTF8 + b"a,b", "text/csv", "a,b"),
        (b"a\xef\xbb\xbfb", "text/plain", "a\ufeffb"),
        (b"\xff\xfe\x01\xd8", "audio/mpeg", "//4B2A=="),
    ],
    ids=["plain", "marked", "problem", "utf-16", "csv", "inside", "binary"],
)
def test_a_byte_order_mark_is_no_part_of_a_text(body: bytes, content_type: str, value: Any) -> None:
    assert read_content(answer(body, content_type)).value == value


def test_services_may_mark_their_json() -> None:
    marked = answer(codecs.BOM_UTF8 + BODY)
    assert glance(Said, marked) == Said(message="ä")
    assert words_of(marked) == "ä"

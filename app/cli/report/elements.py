"""Elements of HTML and SVG as trees, so that whatever text is in them is escaped when they are written."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, tostring

Child = Element | str | None
Attribute = str | float

#: Control characters, which a hostile message may hold and no page may; those too that turn text around.
_CONTROL = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def element(tag: str, /, *children: Child, **attributes: Attribute) -> Element:
    """An element with its children; None is left out.

    Attributes are written as keywords: `class_` is class, `data_step` is data-step; numbers lose what can't
    be seen of them.
    """
    made = Element(tag, {_name(key): _text(value) for key, value in attributes.items()})
    last: Element | None = None
    for child in children:
        if isinstance(child, str):
            clean = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", child)
            if last is None:
                made.text = (made.text or "") + clean
            else:
                last.tail = (last.tail or "") + clean
        elif child is not None:
            made.append(child)
            last = child
    return made


def write(root: Element) -> str:
    """The tree as HTML; the content of script and style is written as it is."""
    return "<!doctype html>\n" + tostring(root, encoding="unicode", method="html") + "\n"


def _name(keyword: str) -> str:
    return keyword.rstrip("_").replace("_", "-")


def _text(value: Attribute) -> str:
    if isinstance(value, str):
        return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", value)
    return f"{value:.2f}".rstrip("0").rstrip(".")

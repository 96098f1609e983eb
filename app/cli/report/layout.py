"""What the parts of a report's page have in common: sections, cards, figures and tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.etree.ElementTree import Element

from app.cli.report import words
from app.cli.report.elements import Child, element


def section(title: str, what: str, parts: Sequence[Element]) -> Element:
    """A part of the page under its heading, with a sentence on what it shows."""
    name = title.lower().replace(" ", "-")
    said = element("p", what, class_="quiet") if what else None
    return element("section", element("h2", title), said, *parts, id=name)


def card(title: str, said: str, *parts: Child, key: str) -> Element:
    """Figures that belong together; `key` names them to whoever reads the page by program."""
    heading = element("header", element("h3", title), element("p", said, class_="quiet")) if title else None
    return element("article", heading, element("div", *parts, class_="charts"), data_key=key)


def figure(title: str, said: str, chart: Element) -> Element:
    """A chart under its title, with its numbers in a word beside it."""
    caption = element("figcaption", element("h4", title), element("span", said, class_="quiet"))
    return element("figure", caption, chart)


def table(headings: Sequence[str], rows: Iterable[Sequence[Element | str]], *, texts: int) -> Element:
    """A table whose first `texts` columns are words and whose others are numbers."""

    def cells(name: str, values: Sequence[Element | str]) -> list[Element]:
        return [
            element(name, value, class_="text" if place < texts else "number")
            for place, value in enumerate(values)
        ]

    head = element("thead", element("tr", *cells("th", headings)))
    body = element("tbody", *(element("tr", *cells("td", row)) for row in rows))
    return element("div", element("table", head, body), class_="scrolls")


def nothing(what: str) -> Element:
    """What stands where there is nothing to show."""
    return element("p", what, class_="nothing")


def times(p50_ms: float | None, p99_ms: float | None) -> str:
    """The middle and the slow end."""
    return f"{words.milliseconds(p50_ms)} / {words.milliseconds(p99_ms)}"

"""Turn whatever escapes from parsing or rendering into a `GiveUp` that gives no value away.

The library's own messages quote values, and so may those of any exception below it. So at rendering time
only the kind of an error and its place in the template are told, and the original is not chained.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from liquid.exceptions import (
    FilterArgumentError,
    FilterError,
    FilterItemTypeError,
    FilterValueError,
    LiquidError,
    LiquidTypeError,
    ResourceLimitError,
    UndefinedError,
    UnknownFilterError,
)

from app.errors import GiveUp
from app.templates.limits import limit_exceeded
from app.templates.no_result import NoResultError
from app.templates.positions import expression_at, place

_LONGEST_REASON_CHARACTERS = 160
_FILTER_ERRORS = (FilterArgumentError, FilterError, FilterItemTypeError, FilterValueError, LiquidTypeError)


@contextmanager
def giving_up_on_syntax(source: str) -> Iterator[None]:
    """Parse in here: the library's complaints, which can't know any input yet, become `template.syntax`."""
    try:
        yield
    except ResourceLimitError as error:
        raise limit_exceeded(f"{_where(error, source)}the template is nested too deeply") from None
    except LiquidError as error:
        if error.__cause__ is not None:
            raise _unforeseen(error.__cause__) from None
        reason = " ".join(str(error.message).split())[:_LONGEST_REASON_CHARACTERS]
        raise GiveUp("template.syntax", f"{_where(error, source)}{reason}") from None


@contextmanager
def giving_up_on_failure(source: str) -> Iterator[None]:
    """Render in here: any `Exception` becomes a `GiveUp` without a word of the inputs."""
    try:
        yield
    except GiveUp:
        raise
    except LiquidError as error:
        raise _failed(error, source) from None
    except Exception as error:
        raise _unforeseen(error) from None


def _failed(error: LiquidError, source: str) -> GiveUp:
    where, word = _where(error, source), _word(error, source)
    if isinstance(error, UndefinedError):
        return GiveUp("template.missing_input", f"{where}no value for '{word}'")
    if isinstance(error, UnknownFilterError):
        return GiveUp("template.syntax", f"{where}unknown filter '{word}'")
    if isinstance(error, ResourceLimitError):
        return limit_exceeded(f"{where}the template is nested too deeply")
    if isinstance(error, NoResultError):
        return GiveUp("template.failed", f"{where}'{word}': {error.reason}")
    if isinstance(error, _FILTER_ERRORS):
        return GiveUp("template.failed", f"{where}'{word}' can't be applied to what it is given")
    return GiveUp("template.failed", f"{where}the template can't be rendered at '{word}'")


def _unforeseen(error: BaseException) -> GiveUp:
    if isinstance(error, RecursionError):
        return limit_exceeded("the template or an input is nested too deeply")
    if isinstance(error, MemoryError):
        return limit_exceeded("the template needs more memory than there is")
    return GiveUp("template.failed", f"the template can't be rendered ({type(error).__name__})")


def _where(error: LiquidError, source: str) -> str:
    index = _index(error, source)
    return "" if index is None else f"{place(source, index)}: "


def _word(error: LiquidError, source: str) -> str:
    index = _index(error, source)
    return "a variable" if index is None else expression_at(source, index)


def _index(error: LiquidError, source: str) -> int | None:
    if error.token is None:
        return None
    start = error.token.start_index
    return start if start >= 0 else len(source)  # the token that stands for the end has no place

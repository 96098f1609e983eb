"""Regular expressions of strangers, matched in time proportional to pattern times text.

The interpreter's own engine backtracks and holds its lock meanwhile, so one hostile pattern would stop a
whole process. Here a pattern becomes a small program whose states are all followed at once. Look-around and
back-references can't be matched that way; a pattern that has them, or is too large, matches nothing.
"""

from __future__ import annotations

from functools import lru_cache

from app.workflow.language.pattern_syntax import BadPatternError, parse_pattern
from app.workflow.language.pattern_tree import Any, At, Tree

#: Most instructions of one pattern: counted repeats are written out.
LARGEST_PROGRAM = 1000
#: Most instructions times characters one match may cost, about a second of work.
MOST_WORK = 2_000_000

#: One instruction: a character to take, a place to be at, or None; and where to go on.
Instruction = tuple[Any | At | None, tuple[int, ...]]


def matches(pattern: str, text: str) -> bool:
    """Whether a pattern is found anywhere in a text; false for one that is malformed or costs too much."""
    try:
        program = _compile(pattern)
    except BadPatternError:
        return False
    return len(program) * (len(text) + 1) <= MOST_WORK and _search(program, text)


@lru_cache(maxsize=256)
def _compile(pattern: str) -> tuple[Instruction, ...]:
    """Instruction 0 is the end; the last one is the start."""
    program: list[Instruction] = [(None, ())]
    start = _emit(parse_pattern(pattern), program, 0)
    _add(program, None, start)
    return tuple(program)


def _emit(tree: Tree, program: list[Instruction], following: int) -> int:
    """Append the instructions of a tree, to be followed by one already there; returns their start."""
    if isinstance(tree, Any | At):
        return _add(program, tree, following)
    if tree.kind == "either":
        return _add(program, None, *(_emit(part, program, following) for part in tree.parts))
    if tree.kind == "all":
        for part in reversed(tree.parts):
            following = _emit(part, program, following)
        return following
    return _emit_repeat(tree.parts[0], tree.least, tree.most, program, following)


def _emit_repeat(part: Tree, least: int, most: int | None, program: list[Instruction], following: int) -> int:
    if most is None:
        loop = _add(program, None, following)
        program[loop] = (None, (_emit(part, program, loop), following))
        following = loop
    after = following
    for _ in range(0 if most is None else most - least):
        following = _add(program, None, _emit(part, program, following), after)
    for _ in range(least):
        size = len(program)
        following = _emit(part, program, following)
        if len(program) == size:
            break  # an empty part, however often it is asked for
    return following


def _add(program: list[Instruction], what: Any | At | None, *following: int) -> int:
    if len(program) >= LARGEST_PROGRAM:
        raise BadPatternError("the pattern is too large")
    program.append((what, following))
    return len(program) - 1


def _search(program: tuple[Instruction, ...], text: str) -> bool:
    start = len(program) - 1
    waiting: set[int] = set()
    for position in range(len(text) + 1):
        takers: list[tuple[Any, tuple[int, ...]]] = []
        if _follow(program, waiting | {start}, text, position, takers):
            return True
        if position < len(text):
            character = text[position]
            waiting = {next_ for taker, following in takers if taker.takes(character) for next_ in following}
    return False


def _follow(
    program: tuple[Instruction, ...],
    begin: set[int],
    text: str,
    position: int,
    takers: list[tuple[Any, tuple[int, ...]]],
) -> bool:
    """Collect what can take the next character; true when the end is among what is reached."""
    stack, seen = list(begin), set(begin)
    while stack:
        index = stack.pop()
        if index == 0:
            return True
        what, following = program[index]
        if isinstance(what, Any):
            takers.append((what, following))
        elif what is None or what.holds(text, position):
            fresh = [next_ for next_ in following if next_ not in seen]
            seen.update(fresh)
            stack.extend(fresh)
    return False

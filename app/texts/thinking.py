"""Take away what reasoning models think aloud before they answer.

The marks: `<think>` of DeepSeek and Qwen, `<thinking>`, `<thought>` and `<reasoning>` of others, `[THINK]`
of Mistral, `◁think▷` of Kimi, and the channels of gpt-oss.
"""

from __future__ import annotations

import re

_TAG = re.compile(
    r"<(/?)(?:think|thinking|thought|reasoning)(?:\s[^<>]*)?>|\[(/?)THINK\]|◁(/?)think▷", re.IGNORECASE
)
_MESSAGE = "<|message|>"


def without_thinking(text: str) -> str:
    """The answer alone; empty where a model was cut off while it thought.

    Some servers leave the first mark out: what stands before a closing mark of its own is thinking too.
    """
    kept: list[str] = []
    start = depth = 0
    for tag in _TAG.finditer(text):
        is_end = bool(tag[1] or tag[2] or tag[3])
        if not is_end:
            if depth == 0:
                kept.append(text[start : tag.start()])
            depth += 1
        elif depth <= 1:
            if depth == 0:
                kept.clear()
            depth, start = 0, tag.end()
        else:
            depth -= 1
    if depth == 0:
        kept.append(text[start:])
    return _final_message("".join(kept))


def _final_message(text: str) -> str:
    """Of an answer in channels the last message, if it is the final one."""
    header, mark, message = text.rpartition(_MESSAGE)
    if not mark:
        return text
    return message.partition("<|")[0] if header.rstrip().endswith("final") else ""

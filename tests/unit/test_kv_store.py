"""Keys of a workflow's values, as the platform's table takes them."""

import re

from hypothesis import given
from hypothesis import strategies as st

from app.platform.kv_store import stored_key

KEYS = st.text(alphabet="ab.:/cds_-", min_size=1, max_size=30)


def read_back(stored: str) -> str:
    return re.sub(r"\.\.([cds])", lambda found: {"c": ":", "s": "/", "d": ".."}[found[1]], stored)


@given(KEYS)
def test_a_stored_key_is_one_that_the_platform_takes_and_tells_the_key(key: str) -> None:
    stored = stored_key(key)
    assert re.fullmatch(r"[\w\-.]+", stored)
    assert read_back(stored) == key


@given(st.from_regex(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", fullmatch=True))
def test_other_keys_are_stored_as_they_are(key: str) -> None:
    assert stored_key(key) == key

"""When two addresses are known to be one host's, on values."""

from __future__ import annotations

import pytest
from paramiko import ECDSAKey, HostKeys, PKey, RSAKey

from operations.reach import have_one_key

BEFORE, NOW = "pi4.local", "[192.168.1.14]:2222"
PI, PRINTER = ECDSAKey.generate(), ECDSAKey.generate()
PIS_OTHER_KEY = RSAKey.generate(2048)


def known(*entries: tuple[str, PKey], hashed: bool = False) -> HostKeys:
    keys = HostKeys()
    for name, key in entries:
        keys.add(HostKeys.hash_host(name) if hashed else name, key.get_name(), key)
    return keys


@pytest.mark.parametrize("hashed", [False, True])
def test_a_host_that_was_followed_to_its_new_address_has_one_key_at_both(hashed: bool) -> None:
    assert have_one_key(known((BEFORE, PIS_OTHER_KEY), (BEFORE, PI), (NOW, PI), hashed=hashed), BEFORE, NOW)


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [(BEFORE, PI)],
        [(NOW, PI)],
        [(BEFORE, PI), (NOW, PRINTER)],
        [(BEFORE, PIS_OTHER_KEY), (NOW, PI)],
    ],
)
def test_who_answers_at_an_address_is_another_until_its_key_says_otherwise(entries: list[tuple[str, PKey]]) -> None:
    assert not have_one_key(known(*entries), BEFORE, NOW)

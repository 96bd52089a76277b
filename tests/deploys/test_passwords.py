"""A password in an inventory is found under whatever name pyinfra would take it, and never repeated."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploys.passwords import objection

INNOCENT = {"address": "192.168.1.11", "ssh_key": "~/.ssh/id_ed25519", "ca_passphrase_file": "x", "_sudo": True}


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"ssh_password": "hunter2"}, "`ssh_password`"),
        ({"ssh_key_password": "hunter2"}, "`ssh_key_password`"),
        ({"_sudo_password": "hunter2"}, "`_sudo_password`"),
        ({"_su_password": "hunter2"}, "`_su_password`"),
        ({"sudo_password": "hunter2"}, "`sudo_password`"),
        ({"SUDO_PASSWORD": "hunter2"}, "`SUDO_PASSWORD`"),
        ({"ssh_paramiko_connect_kwargs": {"password": "hunter2"}}, "`ssh_paramiko_connect_kwargs['password']`"),
    ],
)
def test_a_password_is_named_with_the_way_out_and_not_repeated(said: dict[str, object], named: str) -> None:
    sentence = objection(INNOCENT | said)
    assert named in sentence
    assert "--ssh-password-prompt" in sentence
    assert "hunter2" not in sentence


@pytest.mark.parametrize("said", [{}, INNOCENT, {"ssh_password": ""}, {"ssh_password": None}, {"labels": {"a": "b"}}])
def test_what_is_no_password_is_not_objected_to(said: dict[str, object]) -> None:
    assert objection(said) == ""


_DATA = st.dictionaries(
    st.text(), st.recursive(st.text() | st.none(), lambda inner: st.dictionaries(st.text(), inner), max_leaves=5)
)


@given(_DATA)
def test_any_data_is_looked_through(said: dict[str, object]) -> None:
    assert isinstance(objection(said), str)

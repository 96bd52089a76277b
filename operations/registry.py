"""What the registry's node holds before the registry comes."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api.command import PyinfraCommand

from facts.tls import HTPASSWD, Tls
from operations.file import place_unseen
from operations.known import converges, known
from pki.credentials import Login


@converges(Tls)
def login_known(login: Login | None) -> Generator[PyinfraCommand, None, None]:
    """Have the registry let `login` in; it reads the file anew when it changes. None: no registry here."""
    if login is None:
        host.noop("not the registry's node")
        return
    if login.opens(known(Tls).htpasswd):
        host.noop("already known")
        return
    yield place_unseen(HTPASSWD, login.htpasswd())

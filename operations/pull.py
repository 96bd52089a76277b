"""A pull that proves that an engine trusts a registry, and leaves nothing behind."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

from pyinfra.api import Host, QuoteString, StringCommand

from operations.api import EngineApi, EngineError, Method, unseen
from pki.credentials import Login

_PATIENCE = 60  # seconds
_CURL = f"curl --silent --show-error --noproxy '*' --max-time {_PATIENCE} --unix-socket /run/docker.sock"
# The image is there, but not for this node's platform: the registry answered and was believed.
_OTHER_PLATFORM = "no matching manifest"


def objection(host: Host, reference: str, login: Login) -> str:
    """Why the engine on `host` could not pull an image by its digest; empty if it could.

    An engine that has the image already is asked to look it up in the registry, which takes the same trust and
    login: a pull would give the image another name there. Elsewhere the image is removed again.
    """
    engine, path = EngineApi(host), quote(reference, safe=":@/")
    try:
        if _has(engine, path):
            return _refusal(host, "GET", f"/distribution/{path}/json", login)
        if why := _refusal(host, "POST", f"/images/create?fromImage={quote(reference, safe='')}", login):
            return "" if _OTHER_PLATFORM in why else why
        engine.delete(f"/images/{path}")
    except EngineError as error:
        return str(error)
    return ""


def _has(engine: EngineApi, path: str) -> bool:
    try:
        engine.get(f"/images/{path}/json")
    except EngineError:
        return False
    return True


def _refusal(host: Host, method: Method, path: str, login: Login) -> str:
    """The engine's words where it fails. The login goes in through standard input."""
    access = {"username": login.user, "password": login.password}
    header = f"X-Registry-Auth: {base64.urlsafe_b64encode(json.dumps(access).encode()).decode()}"
    command = StringCommand(f"{_CURL} --header @- --request {method}", QuoteString(f"http://engine{path}"))
    done, said = unseen(host, command, header)
    if not done:
        return said or "the engine does not answer"
    return next((words for line in said.splitlines() if (words := _error(line))), "")


def _error(line: str) -> str:
    """What went wrong, by a line of the engine's answer: progress, `error`, or a refusal's `message`."""
    try:
        found = json.loads(line)
    except ValueError:
        return line.strip()
    return str(found.get("error") or found.get("message") or "") if isinstance(found, dict) else ""

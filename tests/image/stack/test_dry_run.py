"""The socket that takes down what docker's command line would change, spoken to as docker does."""

from __future__ import annotations

import http.client
import json
import socket
import tempfile
from contextlib import closing
from pathlib import Path

import docker
import pytest

from image.errors import UserError
from image.stack import dry_run

NOBODY = docker.DockerClient(base_url="tcp://127.0.0.1:1", version="1.41")


def say(address: Path, path: str, body: object) -> object:
    """POST to a socket, and what it answers."""
    with closing(http.client.HTTPConnection("docker")) as connection:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(address))
        connection.request("POST", path, json.dumps(body))
        with connection.getresponse() as answer:
            return json.load(answer)


def test_what_docker_would_change_is_taken_down():
    with dry_run._listening(NOBODY, ()) as (address, taken):
        answer = say(address, "/v1.41/services/create", {"Name": "shelf_web"})
        say(address, "/v1.41/networks/create", {"Name": "shelf_default"})
    assert answer == {"ID": "new:shelf_web", "Warnings": None}
    assert taken.services == [{"Name": "shelf_web"}]


def test_a_secret_that_is_not_set_yet_is_there_for_docker_and_one_that_is_stays_as_it_is():
    there = [{"ID": "s1", "Spec": {"Name": "shelf_a-0123456789ab"}}]
    taken = dry_run._Taken(["shelf_a-0123456789ab", "shelf_b-missing"])
    assert taken.amend("/v1.41/secrets", there) == [
        *there,
        {"ID": "new:shelf_b-missing", "Spec": {"Name": "shelf_b-missing"}},
    ]


def test_a_mistake_of_our_own_is_not_told_as_dockers():
    with pytest.raises(KeyError, match="Name"), dry_run._listening(NOBODY, ()) as (address, _):  # noqa: PT012
        with pytest.raises(http.client.RemoteDisconnected):
            say(address, "/v1.41/services/create", {})
        raise UserError("docker stack deploy ended with 1: EOF")


def test_a_docker_that_went_away_is_no_mistake_of_ours():
    with dry_run._listening(NOBODY, ()) as (address, _), socket.socket(socket.AF_UNIX) as gone:
        gone.connect(str(address))
        gone.sendall(b"POST /v1.41/services/create HTTP/1.1\r\n")


def test_a_long_folder_for_temporary_files_is_none_for_a_socket(tmp_path, monkeypatch):
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with dry_run._listening(NOBODY, ()) as (address, taken):
        assert address.parent.stat().st_mode & 0o777 == 0o700
        say(address, "/v1.41/services/create", {"Name": "shelf_web"})
    assert taken.services
    assert not address.parent.exists()


def test_no_folder_for_temporary_files_is_told_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with pytest.raises(UserError, match="cannot make a folder in /nowhere"), dry_run._listening(NOBODY, ()):
        pass

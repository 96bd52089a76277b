"""Whose docker context stands where the cluster's is to be written; docker itself makes a person's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from operations.context import in_the_way
from pki.authority import Authority
from pki.context import Context
from pki.people import client_files

HOST = "tcp://198.18.0.11:2376"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    folder = tmp_path / "shelf"
    folder.mkdir()
    client_files(Authority.load_or_create(folder, "shelf"), folder, "owner")
    return Context("shelf", HOST, folder, "The swarm of pi1")


def persons(config: Path, host: str) -> None:
    """A person's context of the cluster's name."""
    argv = ("docker", "context", "create", "shelf", "--docker", f"host={host}")
    subprocess.run(argv, env={**os.environ, "DOCKER_CONFIG": str(config)}, capture_output=True, check=True)


def test_where_there_is_none_or_our_own_nothing_is_in_the_way(tmp_path: Path, context: Context) -> None:
    config = tmp_path / "docker"
    assert in_the_way({"pi1": context}, config) == ""
    Context("shelf", "tcp://198.18.7.7:2376", context.certificates, "The swarm of a former pi1").write(config)
    assert in_the_way({"pi1": context}, config) == ""


def test_a_persons_context_that_leads_elsewhere_is_named_with_where_it_leads(tmp_path: Path, context: Context) -> None:
    persons(tmp_path / "docker", "ssh://me@attic")
    said = in_the_way({"pi1": context}, tmp_path / "docker")
    assert "'shelf' leads to ssh://me@attic" in said
    assert "docker context rm shelf" in said


def test_a_persons_context_that_leads_to_the_cluster_may_be_replaced(tmp_path: Path, context: Context) -> None:
    persons(tmp_path / "docker", HOST)
    assert in_the_way({"pi1": context}, tmp_path / "docker") == ""

"""The docker context that provisioning leaves on the controller."""

from __future__ import annotations

from collections.abc import Generator, Mapping

from pyinfra import host
from pyinfra.api.command import PyinfraCommand

from operations import leader
from operations.known import converges
from operations.refusal import OnController
from pki.context import Context, docker_config_folder


@converges()
def written(contexts: Mapping[str, Context]) -> Generator[PyinfraCommand, None, None]:
    """Write the docker context for this user, unless it is there as it should be.

    Args:
        contexts: one for each manager of the inventory; the first manager that speaks for the swarm is
            the one that it leads to.
    """
    speaks = leader.required("writing the docker context").host.name
    context = contexts.get(host.name)
    if speaks != host.name or context is None:
        host.noop("another host speaks for the swarm")
        return
    if context.is_written(docker_config_folder()):
        host.noop("already there")
        return
    yield OnController(f"writing the docker context {context.name!r}", lambda: context.write(docker_config_folder()))

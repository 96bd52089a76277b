"""The docker context that provisioning leaves on the controller."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand

from operations.refusal import OnController
from pki.context import Context, docker_config_folder


@operation()
def written(context: Context) -> Generator[PyinfraCommand, None, None]:
    """Write the docker context for this user, unless it is there as it should be."""
    if context.is_written(docker_config_folder()):
        host.noop("already there")
        return
    yield OnController(f"writing the docker context {context.name!r}", lambda: context.write(docker_config_folder()))

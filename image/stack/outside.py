"""What a compose file would take from outside of itself, so that a revision is not whole, or show of what is secret.

Docker fills $VARIABLES, and the names of environment entries without a value, from the environment of whoever runs it.
A revision comes from the swarm, so anybody who may write there could ask for what is in another person's environment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from image.stack.yaml_lines import Finding, Value

# Where docker fills in variables; source: docker's command line, cli/compose/loader and cli/compose/template.
_FILLED = ("services", "volumes", "networks", "secrets", "configs")
_VARIABLE = re.compile(r"\$(?:\$|([a-z_]\w*|\{[^}]*\}?))", re.IGNORECASE)


def findings(root: Value) -> Iterator[Finding]:
    """All of it in a compose file, by line."""
    for section in _FILLED:
        for value in root.at(section).scalars():
            for name in filter(None, _VARIABLE.findall(value.text)):
                yield Finding(
                    value.line, f"${name}: docker would fill it in from your environment; write $${name} for a dollar"
                )
    for name, service in root.at("services").table.items():
        environment = service.at("environment")
        valueless = {key: value for key, value in environment.table.items() if value.null}
        valueless |= {item.text: item for item in environment.items if "=" not in item.text}
        for variable, value in valueless.items():
            message = f"services.{name}.environment.{variable}: without a value docker takes it from your environment"
            yield Finding(value.line, message)
    for name, secret in root.at("secrets").table.items():
        file = secret.at("file")
        if file.text:
            advice = f"python -m image secret set {name}, then external: true and name: {{{{ secrets.{name} }}}}"
            yield Finding(file.line, f"secrets.{name}.file: the history would keep it for all to read; {advice}")

"""The stack's template, filled in for one swarm: the owner's settings, the swarm's nodes, images by digest."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import certifi
import jinja2

from image import settings, table
from image.builder.published import Published
from image.cluster import PROMETHEUS_LABEL, Cluster, Node
from image.errors import UserError
from image.plan import ROOT
from image.registry import mirror
from image.settings import Settings
from image.stack import secrets, sizing
from image.stack.rollout import Rollout, object_name

FOLDER = ROOT / "stack"
TEMPLATE = FOLDER / "stack.yml.j2"

_SECRET = re.compile(r"""\bsecrets(?:\.|\[["'])(\w+)""")
_MARK = re.compile("\0(\\d+)\0")


@dataclass(frozen=True)
class Config:
    """A file that the swarm hands to a service; its name changes with its content, for the swarm never changes one."""

    key: str
    """What the compose file calls it: the file's name up to the first dot."""
    name: str
    file: str
    """Relative to the compose file."""
    data: bytes = field(repr=False)
    template_driver: str = ""
    """Who fills it in for each task: `golang`, which is the swarm; empty: nobody."""


def variables(
    cluster: Cluster, images: Mapping[str, str], chosen: Settings, held: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """All that the template may use; raises UserError where the swarm lacks what the stack needs.

    Args:
        images: name -> reference by digest.
        held: the swarm's secrets, as `secrets.newest` has them.
    """
    keeper = prometheus_node(cluster)
    values = {
        "cluster": cluster.name,
        "images": dict(images),
        "mirrors": mirror.references(cluster, [name for name, on in table.values(chosen.services).items() if on]),
        "settings": table.values(chosen),
        "secrets": secrets.Names(held or {}),
        # Without IPVS neither the routing mesh nor virtual addresses answer; DNS and host ports do.
        "port_mode": "ingress" if cluster.routes_ports else "host",
        "endpoint_mode": "vip" if cluster.routes_ports else "dnsrr",
        "prometheus": asdict(sizing.of(keeper, chosen.prometheus)),
        "prometheus_label": PROMETHEUS_LABEL,
        "gateway_url": gateway_url(cluster, chosen.gateway_port),
        # An image has no certificates of CAs: whoever sends mail is handed those that the mail server's may be from.
        # They are large, and in every revision: not where nobody gets a mail.
        "mail_ca": chosen.mail.ca or (certifi.contents() if chosen.mail.to else ""),
        "web_role": "worker" if any(node.role == "worker" for node in cluster.nodes if node.ready) else "manager",
    }
    return {**values, "configs": configs(values)}


def gateway_url(cluster: Cluster, port: int) -> str:
    """Where a person enters, without a slash at its end: on a manager, for one of these outlives the others."""
    ready = [node for node in cluster.nodes if node.ready]
    managers = [node for node in ready if node.role == "manager"]
    if not ready:
        raise UserError(f"no node of {cluster.name} is ready to take tasks", f"{cluster.docker} node ls")
    return (managers or ready)[0].https(port)


def prometheus_node(cluster: Cluster) -> Node:
    """The node that keeps Prometheus' data; raises UserError unless it is one and it is ready."""
    labelled = [node for node in cluster.nodes if node.labels.get(PROMETHEUS_LABEL, "").casefold() == "true"]
    if len(labelled) != 1:
        names = " and ".join(node.name for node in labelled)
        problem = f"{names} have" if labelled else f"no node of {cluster.name} has"
        raise UserError(
            f"{problem} the label {PROMETHEUS_LABEL}=true, and Prometheus keeps its data on one",
            f"{cluster.docker} node update --label-{'rm' if labelled else 'add'} "
            f"{PROMETHEUS_LABEL}{'' if labelled else '=true'} NODE",
        )
    if not labelled[0].ready:
        raise UserError(
            f"{labelled[0].name}, the node with Prometheus' data, is not ready to take tasks",
            f"{cluster.docker} node inspect --pretty {labelled[0].name}",
        )
    return labelled[0]


def configs(values: Mapping[str, Any], folder: Path = FOLDER / "configs") -> tuple[Config, ...]:
    """The files that the stack hands out as swarm configs, by their content.

    NAME.EXT is handed out as it is. NAME.EXT.j2 is filled in here, with the variables of the stack; NAME.EXT.tmpl by
    the swarm, for each task. Those of a service that is switched off, which begin with its name and `_`, are left out.

    Raises:
        UserError: two have the same name, or a variable is not there.
    """
    found: dict[str, Config] = {}
    off = tuple(f"{name}_" for name, on in values.get("settings", {}).get("services", {}).items() if not on)
    for file in sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith((".", *off))):
        key, path = file.name.partition(".")[0], f"{folder.name}/{file.name}"
        if key in found:
            raise UserError(f"{found[key].file} and {path} are both config {key!r}", f"git mv stack/{path} to another")
        data = render(values, file).encode() if file.suffix == ".j2" else file.read_bytes()
        driver = "golang" if file.suffix == ".tmpl" else ""
        found[key] = Config(key, object_name(key, data, driver), path, data, driver)
    return tuple(found.values())


def unnamed(secret: str, template: Path = TEMPLATE) -> str:
    """What to say of a secret that the template does not name, whatever is switched on; empty where it does."""
    text = template.read_text(encoding="utf-8") if template.is_file() else ""
    there = sorted(set(_SECRET.findall(text)))
    if secret in there:
        return ""
    near = get_close_matches(secret, there, n=1)
    meant = f"; it names {near[0]}" if near else ""
    return f"Warning: nothing in {template.name} names the secret {secret}{meant}"


def filled_with(cluster: Cluster, images: Iterable[Published]) -> dict[str, Any]:
    """All that the template may use, with the owner's settings; raises UserError as `variables`."""
    chosen, held = settings.of(cluster), secrets.newest(cluster)
    return variables(cluster, {image.name: image.reference for image in images}, chosen, held)


def compose(cluster: Cluster, images: Iterable[Published]) -> Rollout:
    """The stack for a swarm, from the clone; raises UserError where something that it needs is not there."""
    images = tuple(images)
    values = filled_with(cluster, images)
    files = {config.file: config.data for config in values["configs"]}
    return Rollout(render(values), files, {image.reference: image.tag for image in images})


def render(values: Mapping[str, Any], template: Path = TEMPLATE) -> str:
    """Fill in the template; raises UserError with its file and line where it asks for what there cannot be."""
    return _filled(values, template, lambda environment: environment.get_template(template.name))


def lines(values: Mapping[str, Any], template: Path = TEMPLATE) -> tuple[int, ...]:
    """The template's line that each line of what `render` makes of it comes from."""

    def marked(environment: jinja2.Environment) -> jinja2.Template:
        tree = environment.parse(template.read_text(encoding="utf-8"))
        for data in tree.find_all(jinja2.nodes.TemplateData):
            texts = enumerate(data.data.split("\n"), data.lineno)
            data.data = "\n".join(f"\0{number}\0{text}" for number, text in texts)
        return environment.from_string(tree)

    found = [1]
    for text in _filled(values, template, marked).split("\n"):
        mark = _MARK.match(text)  # none where an expression's value has lines of its own
        found.append(int(mark[1]) if mark else found[-1])
    return tuple(found[1:])


def _filled(values: Mapping[str, Any], template: Path, load: Callable[[jinja2.Environment], jinja2.Template]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 -- it makes YAML, not HTML
    )
    try:
        return load(environment).render(values)
    except jinja2.TemplateNotFound as error:
        raise UserError(f"there is no template {template}", f"git checkout {template.name}") from error
    except jinja2.TemplateSyntaxError as error:
        raise UserError(f"{template.name}, line {error.lineno}: {error.message}") from error
    except jinja2.UndefinedError as error:
        raise UserError(
            f"{template.name}, line {_line_of(error, template)}: {error.message}",
            _meant(error.message or "", values),
        ) from error
    except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise UserError(f"{template.name}, line {_line_of(error, template)}: {error}") from error


def _meant(message: str, values: Mapping[str, Any]) -> str:
    """What to write instead of a variable that is not there: the nearest, or what there is."""
    known = {key: [key] for key in values}
    for name, value in values.items():
        for key in value if isinstance(value, Mapping) else ():
            known.setdefault(key, []).append(f"{name}.{key}" if key.isidentifier() else f'{name}["{key}"]')
    words = re.findall(r"'(\w+)'", message)
    near = get_close_matches(words[-1], known, n=1) if words else []
    there = f"one of {', '.join(sorted(name for names in known.values() for name in names))}"
    return (
        f"{' or '.join(known[near[0]])}; or {there}"
        if near
        else f"{there}; a mirror is there once `mirror NAME` enabled it"
    )


def _line_of(error: BaseException, template: Path) -> int | str:
    """The template's line that raised; jinja2 puts it into the traceback."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(template)]
    return (frames[-1].lineno if frames else None) or "?"

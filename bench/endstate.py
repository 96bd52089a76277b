"""What every way must have reached, read inside the nodes by the engine of this machine."""

from __future__ import annotations

from bench.site import Site
from image.errors import UserError
from lab import engine

# One `name: yes` a check; the files' names are each way's own.
_ASK = r"""
say() { name=$1; shift; if "$@" >/dev/null 2>&1; then echo "$name: yes"; else echo "$name: no"; fi; }
held() { [ "$(apt-mark showhold | grep -cx -e docker.io -e docker-cli -e containerd -e runc)" = 4 ]; }
named() { [ "$(cat /proc/sys/kernel/hostname)" = "$1" ] && getent hosts "$1"; }
knows() { for other in $1; do getent hosts "$other" || return 1; done; }
refuses() {
	! curl -sf --noproxy '*' -m 5 "http://$1:2376/version" && ! curl -skf --noproxy '*' -m 5 "https://$1:2376/version"
}
certified() {
	openssl s_client -connect "$1:2376" -CAfile /etc/docker/tls/ca.pem -verify_ip "$1" </dev/null |
		grep -q 'Verify return code: 0'
}
walled() { nft list ruleset | grep -qw 4789; }
swarm() { [ "$(docker info --format '{{.Swarm.LocalNodeState}}')" = active ]; }
labelled() { [ "$(docker node inspect --format '{{.Spec.Labels.platform}} {{.Status.State}}' $2 |
	grep -cx 'linux/.* ready')" = "$1" ]; }
say 'the name' named "$1"
say 'the names of the others' knows "$5"
say 'a certificate of the CA' certified "$2"
say 'an engine closed to strangers' refuses "$2"
say 'packages on hold' held
say 'a firewall' walled
say 'a firewall at boot' sh -c 'systemctl list-unit-files --state=enabled | grep -i firewall'
say 'trust in the registry' test -s "/etc/docker/certs.d/$3/ca.crt"
say 'a place in the swarm' swarm
[ -z "$4" ] || say 'labels on ready nodes' labelled "$4" "$(docker node ls -q)"
"""


def check(site: Site) -> None:
    """Raise UserError with what a node lacks: a way that did less work would look fast."""
    client = engine.connect()
    registry = f"{site.nodes[0].address}:5000"
    names = " ".join(node.name for node in site.nodes)
    for node in site.nodes:
        count = str(len(site.nodes)) if node is site.nodes[0] else ""
        argv = ["sh", "-c", _ASK, "sh", node.name, node.address, registry, count, names]
        output = client.containers.get(node.container).exec_run(argv, stderr=False).output
        if lacks := lacking(b"".join([output] if isinstance(output, bytes) else output).decode(errors="replace")):
            raise UserError(f"{node.container} lacks {', '.join(lacks)}")


def lacking(answers: str) -> list[str]:
    """The names that are answered by no; all in one where there is no answer."""
    said = dict(line.rsplit(": ", 1) for line in answers.splitlines() if ": " in line)
    return [name for name, answer in said.items() if answer != "yes"] or ([] if said else ["an answer"])

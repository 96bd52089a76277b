"""Images copied from other registries, with and without a password; curl and the nodes' engines look."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import bcrypt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from image import cluster, progress
from image.cluster import REGISTRY_LABEL, Endpoint
from image.errors import UserError
from image.registry import mirror, mirrors
from image.registry.skopeo import Access
from pki.authority import Authority, Identities, pem
from pki.context import docker_config_folder
from tests.commands import Lab, command, until
from tests.image.builder.test_images_on_the_lab import nodes_platform
from tests.image.clone import Clone
from tests.image.lab_registry import INDEX, another_command, begun, curl, login, says, tags

OPEN, LOCKED, TINY = 5001, 5002, 5003
USER, PASSWORD = "visitor", "let me in"
FOLDER = "/root/elsewhere"  # on pi1
KEPT = "/var/lib/docker/volumes/pishelf-registry/_data/docker/registry/v2/repositories/mirror"


def config(port: int) -> str:
    """What one of the other registries is told; see Registry/etc/distribution/config.yml."""
    tls = "" if port == OPEN else "\n  tls: {certificate: /e/cert.pem, key: /e/key.pem}"
    auth = "" if port == OPEN else "\nauth: {htpasswd: {realm: there, path: /e/htpasswd}}"
    storage = "{filesystem: {rootdirectory: /var/lib/registry}, delete: {enabled: true}}"
    return (
        f"version: 0.1\nlog: {{accesslog: {{disabled: true}}}}\nstorage: {storage}\nhttp:\n  addr: :5000{tls}{auth}\n"
    )


def certify(folder: Path, address: str) -> None:
    authority = Authority.create("elsewhere")
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    (folder / "ca.pem").write_bytes(authority.pem)
    (folder / "cert.pem").write_bytes(pem(authority.sign_server(csr, Identities(("elsewhere",), (address,)))))
    kind, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, plain))


def credentials(folder: Path, registry: str, password: str = PASSWORD) -> Path:
    """A folder as `docker login` leaves it."""
    folder.mkdir(exist_ok=True)
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {registry: {"auth": auth}}}))
    return folder


@dataclass(frozen=True)
class Elsewhere:
    """Other registries, as pi1 plays them: one open, over plain HTTP; one locked; and one with hardly any room."""

    lab: Lab
    address: str
    folder: Path
    digest: str
    """Of the index that `hello:1.0` is there."""

    def at(self, port: int) -> str:
        return f"{self.address}:{port}"

    @property
    def hello(self) -> str:
        return f"{self.at(OPEN)}/shelf/hello"

    @property
    def login(self) -> Path:
        return self.folder / "login"

    def put(self, name: str, tag: str, what: str, port: int = OPEN) -> None:
        """Fill a registry from the cluster's own."""
        ours, _ = login(self.lab)
        command(
            *("skopeo", "copy", "--quiet", "--all", "--src-tls-verify=false", "--dest-tls-verify=false"),
            *("--src-authfile", self.lab.folder / "config.json", "--dest-authfile", self.login / "config.json"),
            *(f"docker://{ours}/{what}", f"docker://{self.at(port)}/{name}:{tag}"),
        ).ok()


@pytest.fixture(scope="module")
def elsewhere(images: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    folder, address = tmp_path_factory.mktemp("elsewhere"), images.address("pi1")
    certify(folder, address)
    (folder / "htpasswd").write_bytes(USER.encode() + b":" + bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)))
    for port in (OPEN, LOCKED, TINY):
        (folder / f"{port}.yml").write_text(config(port))
    images.on("pi1", "rm", "-rf", FOLDER).ok()
    command("docker", "cp", folder, f"{images.name}-pi1:{FOLDER}").ok()
    image = images.on("pi1", "docker", "inspect", "--format", "{{.Config.Image}}", "pishelf-registry").ok().strip()
    for port in (OPEN, LOCKED, TINY):
        images.on(
            *("pi1", "docker", "run", "--detach", "--name", f"elsewhere-{port}", "--publish", f"{port}:5000"),
            *("--tmpfs", f"/var/lib/registry:size={'1m' if port == TINY else '64m'}", "--volume", f"{FOLDER}:/e:ro"),
            *("--volume", f"{FOLDER}/{port}.yml:/etc/distribution/config.yml:ro", image),
        ).ok()
        scheme = "http" if port == OPEN else "https"
        until(lambda url=f"{scheme}://{address}:{port}/v2/": command("curl", "-sk", url).code == 0)
    credentials(folder / "login", f"{address}:{LOCKED}")
    busybox = tags(images, "busybox")[-1]
    found = curl(images, f"/v2/busybox/manifests/{busybox}", "-H", f"Accept: {INDEX}")
    there = Elsewhere(images, address, folder, f"sha256:{hashlib.sha256(found.encode()).hexdigest()}")
    there.put("shelf/hello", "1.0", f"busybox:{busybox}")
    there.put("shelf/hello", "1.0", f"busybox:{busybox}", LOCKED)
    yield there
    for port in (OPEN, LOCKED, TINY):
        images.on("pi1", "docker", "rm", "--force", "--volumes", f"elsewhere-{port}").ok()
    images.on("pi1", "rm", "-rf", FOLDER, KEPT).ok()


@pytest.fixture
def file(tmp_path: Path, elsewhere: Elsewhere) -> Path:
    """Where a test's mirrors are recorded; it begins without any, here and in the registry."""
    elsewhere.lab.on("pi1", "rm", "-rf", KEPT).ok()
    return tmp_path / "mirrors.toml"


def sha256(lab: Lab, name: str, reference: str) -> str:
    """Of the index that the cluster's registry gives for a tag or a digest."""
    accept = f"Accept: {INDEX}, application/vnd.docker.distribution.manifest.list.v2+json"
    return f"sha256:{hashlib.sha256(curl(lab, f'/v2/{name}/manifests/{reference}', '-H', accept).encode()).hexdigest()}"


def pulls(lab: Lab, node: str, reference: str) -> None:
    """A node pulls an image, and has no login any more afterwards."""
    address, secret = login(lab)
    user, _, password = secret.partition(":")
    script = (
        f"docker login --username {user} --password-stdin {address} >/dev/null 2>&1 && docker pull -q {reference};"
        f" code=$?; docker rmi {reference} >/dev/null; docker logout {address} >/dev/null; exit $code"
    )
    words = ["docker", "exec", "--interactive", f"{lab.name}-{node}", "sh", "-c", script]
    done = subprocess.run(words, input=password, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_index_is_copied_byte_for_byte_and_other_nodes_pull_it(elsewhere: Elsewhere, file: Path) -> None:
    lab, (address, _) = elsewhere.lab, login(elsewhere.lab)
    said = lab.image("mirror", "--file", file, "--insecure-source", f"{elsewhere.hello}:1.0").ok()
    reference = f"{address}/mirror/hello@{elsewhere.digest}"
    assert said == f"hello  {reference}\n"
    assert f'source = "{elsewhere.hello}:1.0"\n' in file.read_text()
    assert f'digest = "{elsewhere.digest}"\n' in file.read_text()
    (tag,) = tags(lab, "mirror/hello")
    assert sha256(lab, "mirror/hello", tag) == elsewhere.digest
    pulls(lab, "pi2", reference)


def test_nothing_is_copied_while_another_command_may_take_it_away(elsewhere: Elsewhere, file: Path) -> None:
    """Until its index is there, gc would take each platform's image for garbage."""
    lab = elsewhere.lab
    mirrored = ("mirror", "--file", str(file), "--insecure-source", f"{elsewhere.hello}:1.0")
    with another_command(lab) as release, begun(lab, *mirrored) as running:
        says(running, "wait for another command")
        assert not json.loads(curl(lab, "/v2/mirror/hello/tags/list")).get("tags")
        release()
        assert running.wait(300) == 0
    assert len(tags(lab, "mirror/hello")) == 1


def test_what_is_recorded_is_mirrored_in_another_clone_and_a_second_time_not_at_all(
    elsewhere: Elsewhere, file: Path
) -> None:
    lab = elsewhere.lab
    lab.image("mirror", "--file", file, "--insecure-source", "--swarm-only", f"{elsewhere.hello}:1.0").ok()
    before, (tag,) = file.read_text(), tags(lab, "mirror/hello")
    body = json.loads(curl(lab, f"/v2/mirror/hello/manifests/{tag}", "-H", f"Accept: {INDEX}"))
    (only,) = body["manifests"]
    assert f"linux/{only['platform']['architecture']}" == nodes_platform(lab)
    elsewhere.lab.on("pi1", "rm", "-rf", KEPT).ok()
    # What the tag means elsewhere has changed since; what was recorded has not.
    elsewhere.put("shelf/hello", "1.0", f"node_exporter:{tags(lab, 'node_exporter')[-1]}")
    try:
        done = lab.image("mirror", "--file", file, "--insecure-source", "--json")
        (one,) = json.loads(done.ok())
        assert one["copied"] is True
        assert tags(lab, "mirror/hello") == [tag]
        assert one["reference"].endswith(sha256(lab, "mirror/hello", tag))
        again = lab.image("mirror", "--file", file)  # not even the way to the source has to be told
        assert "nothing to do" in again.stderr
        assert file.read_text() == before
    finally:
        elsewhere.put("shelf/hello", "1.0", f"busybox:{tags(lab, 'busybox')[-1]}")


def test_update_finds_what_a_tag_means_by_now_and_keeps_what_it_meant(elsewhere: Elsewhere, file: Path) -> None:
    lab = elsewhere.lab
    elsewhere.put("shelf/moving", "1", f"busybox:{tags(lab, 'busybox')[-1]}")
    mirrored = ("mirror", "--file", file, "--insecure-source")
    lab.image(*mirrored, f"{elsewhere.at(OPEN)}/shelf/moving:1").ok()
    assert "nothing to do" in lab.image(*mirrored, "--update").stderr
    (first,) = tags(lab, "mirror/moving")
    elsewhere.put("shelf/moving", "1", f"node_exporter:{tags(lab, 'node_exporter')[-1]}")
    assert "nothing to do" in lab.image(*mirrored).stderr, "nobody asked for it"
    said = lab.image(*mirrored, "--update").ok()
    now = sha256(lab, "node_exporter", tags(lab, "node_exporter")[-1])
    assert f"was {elsewhere.digest} and is {now}" in said
    assert {sha256(lab, "mirror/moving", tag) for tag in tags(lab, "mirror/moving")} == {elsewhere.digest, now}
    assert first in tags(lab, "mirror/moving"), "a rollback finds what it wants"


def test_an_image_without_an_index_gets_one(elsewhere: Elsewhere, file: Path) -> None:
    lab = elsewhere.lab
    single = f"{elsewhere.at(OPEN)}/shelf/single:1"
    ours, _ = login(lab)
    words = ("--quiet", "--src-tls-verify=false", "--dest-tls-verify=false", "--src-authfile")
    busybox = f"docker://{ours}/busybox:{tags(lab, 'busybox')[-1]}"
    command("skopeo", "copy", *words, lab.folder / "config.json", busybox, f"docker://{single}").ok()
    lab.image("mirror", "--file", file, "--insecure-source", single).ok()
    (tag,) = tags(lab, "mirror/single")
    (only,) = json.loads(curl(lab, f"/v2/mirror/single/manifests/{tag}", "-H", f"Accept: {INDEX}"))["manifests"]
    assert (only["platform"]["os"], only["platform"]["architecture"]) == tuple(nodes_platform(lab).split("/"))
    pulls(lab, "pi2", f"{ours}/mirror/single@{sha256(lab, 'mirror/single', tag)}")


def test_a_source_with_a_password_and_a_ca_of_its_own(elsewhere: Elsewhere, file: Path, tmp_path: Path) -> None:
    lab, source = elsewhere.lab, f"{elsewhere.at(LOCKED)}/shelf/hello:1.0"
    trusted = ("mirror", "--file", file, "--source-ca", elsewhere.folder / "ca.pem")
    lab.image("mirror", "--file", file, source).refused("certificate", "is not trusted", "--source-ca FILE")
    lab.image(*trusted, source).refused("does not let you read", f"docker login {elsewhere.at(LOCKED)}")
    wrong = credentials(tmp_path / "wrong", elsewhere.at(LOCKED), "guessed")
    said = lab.image(*trusted, "--source-credentials", wrong, source).refused("does not let you read")
    assert "guessed" not in said
    assert not file.exists()
    own = Path(shutil.copytree(docker_config_folder(), tmp_path / "own"))  # with the contexts in it
    done = lab.image("-v", *trusted, source, DOCKER_CONFIG=str(credentials(own, elsewhere.at(LOCKED))))
    done.ok()
    assert PASSWORD not in done.said
    assert base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode() not in done.said
    (tag,) = tags(lab, "mirror/hello")
    assert sha256(lab, "mirror/hello", tag) == elsewhere.digest


def test_what_is_not_there_or_not_to_be_had_is_told_with_the_way_out(elsewhere: Elsewhere, file: Path) -> None:
    lab = elsewhere.lab
    lab.image("mirror", "--file", file, f"{elsewhere.hello}:1.0").refused("plain HTTP", "--insecure-source")
    unknown = lab.image("mirror", "--file", file, "--insecure-source", f"{elsewhere.hello}:1.1")
    unknown.refused(f"there is no {elsewhere.hello}:1.1", "such as 1.0")
    lab.image("mirror", "--file", file, f"{elsewhere.at(5009)}/x:1").refused("does not answer", "Try:")
    lab.image("mirror", "--file", file, "Not/Good").refused("'Not/Good' is no image's reference")
    assert not file.exists()


def test_a_copy_that_breaks_leaves_no_index_and_the_next_run_ends_it(elsewhere: Elsewhere, file: Path) -> None:
    """The source lacks for a while what is copied last."""
    lab, mirrored = elsewhere.lab, ("mirror", "--file", file, "--insecure-source", f"{elsewhere.hello}:1.0")
    body = command("curl", "-s", "-H", f"Accept: {INDEX}", f"http://{elsewhere.at(OPEN)}/v2/shelf/hello/manifests/1.0")
    last = json.loads(body.ok())["manifests"][-1]["digest"]
    kept = f"/proc/{inside(lab)}/root/var/lib/registry/docker/registry/v2/repositories/shelf/hello/_manifests"
    link = f"{kept}/revisions/{last.replace(':', '/')}/link"
    lab.on("pi1", "mv", link, f"{link}.away").ok()
    try:
        lab.image(*mirrored).refused(f"copying {elsewhere.hello}@{last}", "Try:")
    finally:
        lab.on("pi1", "mv", f"{link}.away", link).ok()
    assert not file.exists()
    assert not json.loads(curl(lab, "/v2/mirror/hello/tags/list")).get("tags"), "no index was put"
    lab.image(*mirrored).ok()
    (tag,) = tags(lab, "mirror/hello")
    assert sha256(lab, "mirror/hello", tag) == elsewhere.digest


def inside(lab: Lab) -> str:
    """The process of the open registry, as pi1 numbers it."""
    return lab.on("pi1", "docker", "inspect", "--format", "{{.State.Pid}}", f"elsewhere-{OPEN}").ok().strip()


def test_a_registry_without_room_is_an_error_and_nothing_is_recorded(elsewhere: Elsewhere, file: Path) -> None:
    """The cluster's registry is another one here: who would fill a lab's disk?"""
    own = cluster.read(elsewhere.lab.name)
    nodes = [replace(node, labels={k: v for k, v in node.labels.items() if k != REGISTRY_LABEL}) for node in own.nodes]
    nodes[0] = replace(nodes[0], labels={REGISTRY_LABEL: elsewhere.at(TINY)})
    login = credentials(elsewhere.folder / "tiny", elsewhere.at(TINY))
    tiny = replace(own, nodes=tuple(nodes), credentials=login, endpoint=Endpoint(own.endpoint.host, elsewhere.folder))
    wanted = mirror.chosen({}, [f"{elsewhere.hello}:1.0"])
    with pytest.raises(UserError, match=r"copying .*shelf/hello(?s:.*)Try: df -h on the node"):
        mirror.mirror(tiny, wanted, Access(insecure=True), progress.shown, file)
    assert not file.exists()
    listed = command(
        "curl", "-sk", "-u", f"{USER}:{PASSWORD}", f"https://{elsewhere.at(TINY)}/v2/mirror/hello/tags/list"
    )
    assert not json.loads(listed.ok()).get("tags"), "no index was put"


def test_a_deploy_gets_the_digest_and_without_it_the_command_that_mirrors(elsewhere: Elsewhere, file: Path) -> None:
    lab = elsewhere.lab
    lab.image("mirror", "--file", file, "--insecure-source", f"{elsewhere.hello}:1.0").ok()
    own = cluster.read(lab.name)
    assert mirror.references(own, file=file) == {"hello": f"{own.registry}/mirror/hello@{elsewhere.digest}"}
    elsewhere.lab.on("pi1", "rm", "-rf", KEPT).ok()
    with pytest.raises(UserError, match=r"hello .* is enabled in mirrors\.toml, and not in the registry") as seen:
        mirror.references(own, file=file)
    assert f"python -m image --context {lab.name} mirror hello" in seen.value.message
    mirrors.record(replace(mirrors.read(file)["hello"], enabled=False), file)
    assert mirror.references(own, file=file) == {}


# Plays all three: one program that serves a page of its own at Grafana's port and at Portainer's.
STANDIN = {
    "image.toml": ('name = "busybox"', 'name = "standin"'),
    "Dockerfile": (
        'ENTRYPOINT ["/bin/busybox"]\nCMD ["httpd", "-f", "-p", "8080", "-h", "/www"]',
        'ENTRYPOINT ["/bin/sh", "-c", "/bin/busybox httpd -p 3000 -h /www; '
        'exec /bin/busybox httpd -f -p 9000 -h /www"]',
    ),
}
SOURCES = ("grafana/grafana:12.3.0", "portainer/portainer-ce:2.45.0", "portainer/agent:2.45.0")


@pytest.fixture
def wanted(elsewhere: Elsewhere, clone: Clone) -> Iterator[Clone]:
    """A clone whose settings want Grafana and Portainer, which are elsewhere under the names that they have there."""
    lab, folder = elsewhere.lab, clone.folder
    shutil.copytree(folder / "Busybox", folder / "Standin", symlinks=True)
    for name, (old, new) in STANDIN.items():
        clone.edit(f"Standin/{name}", old, new)
    (folder / "Standin/root/www/grafana").mkdir()
    (folder / "Standin/root/www/grafana/index.html").write_text("grafana's page")
    (folder / "Standin/root/www/where.txt").write_text("portainer's page")
    clone.image("build-all", "standin").ok()
    for source in SOURCES:
        name, _, tag = source.partition(":")
        elsewhere.put(name, tag, f"standin:{tags(lab, 'standin')[-1]}")
        clone.edit("stack/mirrors.toml", f"docker.io/{source}", f"{elsewhere.at(OPEN)}/{source}")
    for service in ("grafana", "portainer"):
        clone.edit("stack/settings.toml", f"\n{service} = false", f"\n{service} = true")
    yield clone
    lab.image("deploy").ok()
    for name in ("grafana", "portainer"):
        lab.image("secret", "rm", f"{name}_password").ok()


def test_grafana_and_portainer_are_mirrored_deployed_and_behind_the_gateway(
    elsewhere: Elsewhere, wanted: Clone
) -> None:
    lab = elsewhere.lab
    wanted.image("deploy").refused("service grafana is on", f"--context {lab.name} mirror grafana; or grafana = false")
    wanted.image("mirror", "--insecure-source", "grafana").ok()
    wanted.image("deploy").refused("service portainer is on", "mirror portainer portainer_agent")
    wanted.image("mirror", "--insecure-source", "portainer", "portainer_agent").ok()
    wanted.image("deploy").refused("secret set grafana_password", "secret set portainer_password")
    for name in ("grafana", "portainer"):
        wanted.image("secret", "set", f"{name}_password", given="correct horse battery staple\n").ok()
    wanted.image("deploy").ok()
    for node in ("pi1", "pi3"):
        until(lambda node=node: lab.fetched(node, "/grafana/index.html") == "grafana's page")
        until(lambda node=node: lab.fetched(node, "/portainer/where.txt") == "portainer's page")
        stranger = command("curl", "-sk", "--noproxy", "*", f"https://{lab.address(node)}/grafana/index.html")
        assert "grafana's page" not in stranger.ok()
    running = ("service", "ps", "--filter", "desired-state=running", "--format", "{{.Node}}")
    agents = lab.docker(*running, "shelf_portainer_agent").ok().split()
    assert sorted(agents) == ["pi1", "pi2", "pi3"]
    ports = lab.docker("service", "ls", "--format", "{{.Name}} {{.Ports}}").ok().splitlines()
    assert not [line for line in ports if line.startswith(("shelf_grafana", "shelf_portainer")) and ":" in line]
    assert "nothing to do" in wanted.image("deploy").ok()

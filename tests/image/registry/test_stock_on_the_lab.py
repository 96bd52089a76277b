"""What the registry holds, as the commands say and as curl, the nodes' engines and the registry's volume show."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import Lab, command, until
from tests.image.lab_registry import (
    INDEX,
    another_command,
    begun,
    curl,
    digest,
    login,
    manifest,
    pulled,
    push_variant,
    says,
    versions,
)

PIS = ("pi1", "pi2", "pi3")
VOLUME = "/var/lib/docker/volumes/pishelf-registry/_data"
BLOBS = f"{VOLUME}/docker/registry/v2/blobs/sha256"
NAME = "busybox"


def listed(lab: Lab) -> dict[tuple[str, str], dict[str, object]]:
    return {(row["image"], row["tag"]): row for row in json.loads(lab.image("list", "--json").ok())}


def blobs(lab: Lab, name: str, tag: str) -> dict[str, int]:
    """Every part of an image but its index, and its size; as the manifests say, read by curl."""
    found: dict[str, int] = {}
    for entry in manifest(lab, name, tag)["manifests"]:
        child = manifest(lab, name, entry["digest"])
        found[entry["digest"]] = entry["size"]
        found |= {blob["digest"]: blob["size"] for blob in (child["config"], *child["layers"])}
    return found


def volume_bytes(lab: Lab) -> int:
    return int(lab.on("pi1", "du", "--summarize", "--bytes", VOLUME).ok().split()[0])


def answers(lab: Lab) -> bool:
    return curl(lab, "/v2/") == "{}"


@pytest.fixture(scope="module")
def variants(stack: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Six made-up versions of busybox' image, each with content of its own: digest by tag."""
    folder = tmp_path_factory.mktemp("variants")
    pushed = {tag: push_variant(stack, folder, NAME, tag) for tag in (f"v0.0.{number}-test" for number in range(6))}
    for minute, tag in enumerate(pushed, start=1):  # some were pushed within one second
        link = f"{VOLUME}/docker/registry/v2/repositories/{NAME}/_manifests/tags/{tag}/current/link"
        stack.on("pi1", "touch", f"--date={minute} minutes", link).ok()
    yield pushed
    if left := [f"{NAME}:{tag}" for tag in versions(stack, NAME) if tag.endswith("-test")]:
        stack.image("rm", *left).ok()
    stack.image("gc", "--yes").ok()
    assert not [tag for tag in versions(stack, NAME) if tag.endswith("-test")]


def test_the_list_has_each_tag_with_its_size_its_age_and_its_service(stack: Lab) -> None:
    found = listed(stack)
    for name, service in (("busybox", "shelf_web"), ("node_exporter", "shelf_node_exporter")):
        used = next(row for (image, _), row in found.items() if image == name and row["services"])
        assert used["services"] == [service]
        tag = str(used["tag"])
        assert used["digest"] == digest(stack, name, tag)
        sbom = str(used["digest"]).replace(":", "-")
        indexes = sum(len(curl(stack, f"/v2/{name}/manifests/{one}", "-H", f"Accept: {INDEX}")) for one in (tag, sbom))
        parts = blobs(stack, name, tag) | blobs(stack, name, sbom)
        assert used["bytes"] == sum(parts.values()) + indexes
        link = f"{VOLUME}/docker/registry/v2/repositories/{name}/_manifests/tags/{tag}/current/link"
        written = stack.on("pi1", "stat", "--format=%Y", link).ok()
        then = command("date", "--utc", f"--date=@{written.strip()}", "+%Y-%m-%dT%H:%M:%S+00:00").ok().strip()
        assert used["pushed"] == then
    assert ["the registry itself"] in [row["services"] for (image, _), row in found.items() if image == "registry"]
    shown = stack.image("list").ok()
    assert "shelf_web" in shown
    assert "ago" in shown


def test_inspect_shows_each_platforms_layers(stack: Lab) -> None:
    found = json.loads(stack.image("inspect", "busybox", "--json").ok())
    index = manifest(stack, "busybox", found["tag"])
    assert {one["platform"]: one["digest"] for one in found["manifests"]} == {
        "/".join(
            entry["platform"][key] for key in ("os", "architecture", "variant") if key in entry["platform"]
        ): entry["digest"]
        for entry in index["manifests"]
    }
    assert found["annotations"] == index["annotations"]
    for one in found["manifests"]:
        assert [layer["digest"] for layer in one["layers"]] == [
            layer["digest"] for layer in manifest(stack, "busybox", one["digest"])["layers"]
        ]


def test_an_unknown_image_is_refused_with_the_nearest_that_there_is(stack: Lab) -> None:
    tag = versions(stack, "busybox")[-1]
    stack.image("rm", f"busybox:{tag[:-1]}").refused(f"busybox:{tag}")
    stack.image("inspect", "busybux").refused("'busybux'", "busybox")


def test_what_a_service_runs_is_not_removed(stack: Lab) -> None:
    before = {name: versions(stack, name) for name in ("busybox", "registry")}
    for name, user in (("busybox", "shelf_web"), ("registry", "the registry itself")):
        all_of_it = [f"{name}:{tag}" for tag in before[name]]
        stack.image("rm", *all_of_it).refused(user, "nothing is removed")
    assert {name: versions(stack, name) for name in before} == before


def test_gc_frees_what_nothing_needs_and_every_image_still_pulls_on_every_node(
    stack: Lab, variants: dict[str, str]
) -> None:
    oldest, old, *_ = variants
    unused = blobs(stack, NAME, oldest)
    web = next(row for (image, _), row in listed(stack).items() if image == NAME and row["services"])
    before = volume_bytes(stack)

    said = stack.image("gc", "--keep", "3").ok()
    (line,) = [line for line in said.splitlines() if line.startswith(f"{NAME}:{oldest} ")]
    assert line.endswith("goes")
    assert set(variants) <= set(versions(stack, NAME)), "a dry run removed something"
    assert volume_bytes(stack) == before

    said = stack.image("gc", "--keep", "3", "--yes").ok()
    assert f"removed {NAME}:{oldest}" in said
    left = versions(stack, NAME)
    assert oldest not in left
    assert old not in left
    assert set(list(variants)[-3:]) | {web["tag"]} <= set(left)
    assert volume_bytes(stack) < before - (3 << 20)
    for part in unused:
        value = part.partition(":")[2]
        assert stack.on("pi1", "test", "-e", f"{BLOBS}/{value[:2]}/{value}").code == 1, part
    for name in ("alertmanager", "busybox", "node_exporter", "prometheus", "registry"):
        for tag in versions(stack, name):
            assert {pi: pulled(stack, pi, f"{name}:{tag}") for pi in PIS} == dict.fromkeys(PIS, "")
    assert pulled(stack, "pi2", f"{NAME}:{oldest}") != ""


def test_a_gc_that_is_killed_leaves_the_registry_running_and_a_second_one_ends_it(
    stack: Lab, variants: dict[str, str]
) -> None:
    *_, last = variants
    stack.image("rm", f"{NAME}:{last}").ok()
    layer = next(iter(blobs_in_volume(stack, variants[last])), "")
    moments = (("remove", signal.SIGKILL), ("collect", signal.SIGINT), ("collect", signal.SIGKILL))
    for word, how in moments:
        with begun(stack, "gc", "--yes") as running:
            says(running, word)
            os.killpg(running.pid, how)
            running.wait(60)
        until(lambda: answers(stack), seconds=60)
    stack.image("gc", "--yes").ok()
    assert layer
    assert blobs_in_volume(stack, variants[last]) == []


def test_what_gets_its_tag_while_gc_waits_for_its_turn_stays(stack: Lab, tmp_path: Path) -> None:
    pushed = push_variant(stack, tmp_path, NAME, "v0-late")
    body = curl(stack, f"/v2/{NAME}/manifests/v0-late", "-H", f"Accept: {INDEX}")
    curl(stack, f"/v2/{NAME}/manifests/v0-late", "--request", "DELETE")
    kept = f"{VOLUME}/docker/registry/v2/repositories/{NAME}/_manifests/revisions"
    stack.on("pi1", "find", kept, "-name", "link", "-exec", "touch", "--date=2 hours ago", "{}", "+").ok()
    assert f"{NAME} without a tag" in stack.image("gc").ok()
    with another_command(stack) as release, begun(stack, "gc", "--yes") as running:
        says(running, "wait for another command")
        put = ("--request", "PUT", "-H", f"Content-Type: {INDEX}", "--data-binary", body)
        assert curl(stack, f"/v2/{NAME}/manifests/v0-late", *put) == ""
        release()
        assert running.wait(300) == 0
    assert digest(stack, NAME, "v0-late") == pushed
    assert pulled(stack, "pi2", f"{NAME}:v0-late") == ""
    stack.image("rm", f"{NAME}:v0-late").ok()


def test_what_takes_from_the_registry_waits_for_its_turn(stack: Lab) -> None:
    with another_command(stack):
        for argv in (("rm", f"{NAME}:none"), ("move-registry",)):
            with begun(stack, *argv) as running:
                says(running, "wait for another command")


def blobs_in_volume(lab: Lab, wanted: str) -> list[str]:
    """The blob's folder, while it is there."""
    value = wanted.partition(":")[2]
    return lab.on("pi1", "sh", "-c", f"ls -d {BLOBS}/{value[:2]}/{value} 2>/dev/null || true").ok().split()


def test_a_damaged_blob_is_named_with_its_image_and_the_way_out(stack: Lab, variants: dict[str, str]) -> None:
    tag = next(tag for tag in variants if tag in versions(stack, NAME))
    entry = manifest(stack, NAME, tag)["manifests"][0]
    layer = manifest(stack, NAME, entry["digest"])["layers"][0]["digest"]
    value = layer.partition(":")[2]
    file = f"{BLOBS}/{value[:2]}/{value}/data"
    stack.on("pi1", "cp", "--archive", file, "/root/whole").ok()
    try:
        stack.on("pi1", "dd", "if=/dev/zero", f"of={file}", "bs=1", "count=9", "conv=notrunc").ok()
        done = stack.image("verify", "--json")
        assert done.code == 1
        damage = json.loads(done.stdout)["damage"]
        assert any(layer in sentence and NAME in sentence for sentence in damage), damage
        assert "rm --force" in done.stderr
    finally:
        stack.on("pi1", "mv", "/root/whole", file).ok()
    result = json.loads(stack.image("verify", "--json").ok())
    assert result["damage"] == []
    assert result["pulls"] >= 3 * 4
    assert sorted(result["nodes"]) == list(PIS)


def test_verify_leaves_on_a_node_only_what_was_there(stack: Lab, variants: dict[str, str]) -> None:
    def there() -> dict[str, list[str]]:
        form = "{{.Repository}}:{{.Tag}}@{{.ID}}"
        return {pi: sorted(stack.on(pi, "docker", "images", "--no-trunc", "--format", form).ok().split()) for pi in PIS}

    before = there()
    stack.image("verify").ok()
    assert there() == before


def test_the_registry_comes_back_by_itself_when_its_nodes_engine_restarts(stack: Lab) -> None:
    stack.restart_engine("pi1")
    tag = tags_after_restart(stack)
    until(lambda: pulled(stack, "pi2", f"busybox:{tag}") == "", seconds=90)


def tags_after_restart(lab: Lab) -> str:
    until(lambda: answers(lab), seconds=90)
    return versions(lab, "busybox")[-1]


def test_the_registry_is_configured_as_it_is_meant_to_be(stack: Lab) -> None:
    address, _ = login(stack)
    host = address.partition(":")[0]
    assert command("curl", "-s", "-m", "5", f"http://{host}:5001/metrics").code != 0, "metrics are for nobody outside"
    inside = stack.on("pi1", "docker", "inspect", "--format", "{{.NetworkSettings.IPAddress}}", "pishelf-registry")
    ask = f"exec 3<>/dev/tcp/{inside.ok().strip()}/5001; printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
    metrics = stack.on("pi1", "bash", "-c", ask).ok()
    assert "registry_storage" in metrics
    hashed = stack.on("pi1", "cat", "/etc/docker/registry/htpasswd").ok()
    assert hashed.partition(":")[2].startswith("$2b$")
    # The client here would speak it: the refusal is the registry's.
    old = command("openssl", "s_client", "-connect", address, "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")
    assert "alert protocol version" in old.said
    logs = stack.on("pi1", "docker", "logs", "pishelf-registry").said
    assert "traces export" not in logs

"""What an image is made of: read from its programs, beside it in the registry, valid, the same each time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from image import plan
from image.builder import sbom
from image.builder.debian import Source, parse_changelog
from image.builder.sbom import Made, Part
from image.platform import Platform
from image.registry import referrers
from tests.commands import Lab
from tests.image.lab_registry import MANIFEST, curl, digest, manifest, tag

ARM64, AMD64 = map(Platform.parse, ("linux/arm64", "linux/amd64"))
NAMES = ("alertmanager", "busybox", "gateway", "node_exporter", "prometheus", "registry")
BUILD = {
    "GoVersion": "go1.27.3",
    "Path": "example.org/cmd/hello",
    "Main": {"Path": "pishelf/Hello", "Version": "(devel)"},
    "Deps": [
        {"Path": "example.org/lib/v2", "Version": "v2.1.0", "Sum": "h1:abc="},
        {
            "Path": "old.org/x",
            "Version": "v1.0.0",
            "Replace": {"Path": "new.org/x", "Version": "v1.0.1", "Sum": "h1:d="},
        },
        {"Path": "here.org/y", "Version": "v1.0.0", "Replace": {"Path": "./y"}},
    ],
}
STDLIB = "pkg:golang/stdlib@1.27.3"
LIB = "pkg:golang/example.org/lib/v2@v2.1.0"


def problems(document: str) -> str:
    """What the library's validator finds wrong."""
    return str(JsonStrictValidator(SchemaVersion.V1_6).validate_str(document) or "")


def test_a_go_programs_parts_are_its_modules_as_they_were_replaced_and_gos_own() -> None:
    assert list(sbom.go_parts(json.dumps(BUILD))) == [
        Part(STDLIB),
        Part(LIB, "h1:abc="),
        Part("pkg:golang/new.org/x@v1.0.1", "h1:d="),
    ]


def test_a_programs_own_module_is_a_part_where_it_has_a_version() -> None:
    build = {"GoVersion": "go1.27.3", "Main": {"Path": "example.org/hello", "Version": "v1.2.3", "Sum": "h1:e="}}
    assert list(sbom.go_parts(json.dumps(build))) == [
        Part(STDLIB),
        Part("pkg:golang/example.org/hello@v1.2.3", "h1:e="),
    ]


def test_a_debian_changelog_names_the_source_and_its_version() -> None:
    assert parse_changelog("busybox (1:1.37.0-6) unstable; urgency=medium") == Source("busybox", "1:1.37.0-6")
    assert parse_changelog("Version 1.37.0 of busybox") is None


def test_each_platforms_program_depends_on_its_own_parts() -> None:
    (image,) = plan.read(("prometheus",))
    made = {ARM64: Made("a" * 64, frozenset({Part(LIB), Part(STDLIB)})), AMD64: Made("b" * 64, frozenset({Part(LIB)}))}
    text = sbom.document(image, made).decode()
    assert problems(text) == ""
    found = json.loads(text)
    needs = {entry["ref"]: entry.get("dependsOn", []) for entry in found["dependencies"]}
    assert needs["prometheus linux/arm64"] == sorted([LIB, STDLIB])
    assert needs["prometheus linux/amd64"] == [LIB]
    (web_ui,) = [part for part in found["components"] if part["name"] == "prometheus web interface"]
    assert web_ui["purl"] == f"pkg:golang/github.com/prometheus/prometheus@{image.revision}#web/ui"
    assert sorted(needs["prometheus"]) == sorted(
        ["prometheus linux/amd64", "prometheus linux/arm64", web_ui["bom-ref"]]
    )


def test_one_image_has_one_document_without_time_or_chance() -> None:
    (image,) = plan.read(("registry",))
    parts = [Part(f"pkg:golang/example.org/m{number}@v1.0.0") for number in range(20)]
    one = sbom.document(image, {ARM64: Made("a" * 64, frozenset(parts)), AMD64: Made("b" * 64, frozenset())})
    two = sbom.document(image, {AMD64: Made("b" * 64, frozenset()), ARM64: Made("a" * 64, frozenset(parts[::-1]))})
    assert one == two
    assert not {"serialNumber", "timestamp"} & {*json.loads(one), *json.loads(one)["metadata"]}


@pytest.mark.parametrize(
    ("digest", "tag"), [("sha256:" + "0a" * 32, "sha256-" + "0a" * 32), ("sha512:" + "0a" * 64, "sha512-" + "0a" * 32)]
)
def test_what_refers_to_a_digest_is_listed_under_its_tag(digest: str, tag: str) -> None:
    assert referrers.fallback_tag(digest) == tag


@pytest.mark.parametrize(
    ("tag", "subject"),
    [("sha256-" + "0a" * 32, "sha256:" + "0a" * 32), ("v1.12.1-0123456789ab", None), ("sha256-0a", None)],
)
def test_a_tag_that_lists_referrers_is_known(tag: str, subject: str | None) -> None:
    assert referrers.subject(tag) == subject


def from_registry(lab: Lab, name: str) -> tuple[str, str]:
    """The document that lies beside an image, followed by hand, and the image's digest."""
    index = digest(lab, name, tag(name))
    (entry,) = manifest(lab, name, f"sha256-{index.removeprefix('sha256:')}")["manifests"]
    assert (entry["mediaType"], entry["artifactType"]) == (MANIFEST, sbom.MEDIA_TYPE)
    found = manifest(lab, name, entry["digest"])
    assert found["artifactType"] == sbom.MEDIA_TYPE
    assert found["subject"]["digest"] == index
    (layer,) = found["layers"]
    return curl(lab, f"/v2/{name}/blobs/{layer['digest']}"), index


@pytest.mark.parametrize("name", NAMES)
def test_each_image_has_a_valid_document_beside_it_that_the_command_prints(images: Lab, name: str) -> None:
    document, index = from_registry(images, name)
    assert problems(document) == ""
    done = images.image("sbom", name)
    assert done.ok() == document
    assert index in done.stderr, "it does not say which image's it is"


def components(document: str) -> dict[str, dict[str, Any]]:
    return {part["bom-ref"]: part for part in json.loads(document)["components"]}


def test_a_document_names_what_the_image_is_made_of(images: Lab) -> None:
    pins = plan.required(Path(plan.ROOT / "Registry"), "github.com/distribution/distribution/v3")
    found = components(from_registry(images, "registry")[0])
    assert f"pkg:golang/github.com/distribution/distribution/v3@{pins}" in found
    assert any(ref.startswith("pkg:golang/stdlib@1.") for ref in found)
    assert any(ref.startswith("pkg:deb/debian/busybox@") for ref in components(from_registry(images, "busybox")[0]))


def test_an_image_that_is_not_pushed_is_described_from_its_programs(images: Lab) -> None:
    name = "prometheus"  # of the others, other tests build for more platforms than the swarm's
    index = digest(images, name, tag(name))
    pushed = images.image("sbom", name).ok()
    curl(images, f"/v2/{name}/manifests/{tag(name)}", "--request", "DELETE")
    try:
        done = images.image("sbom", name)
        assert f"the registry has none of {tag(name)}" in done.stderr
        assert done.ok() == pushed
    finally:
        images.image("build-all", name).ok()
    assert digest(images, name, tag(name)) == index

"""References as people write them, and as Docker reads them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image.errors import UserError
from image.registry.reference import Reference, shortened

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("redis", "docker.io/library/redis:latest"),
        ("redis:8", "docker.io/library/redis:8"),
        ("grafana/grafana", "docker.io/grafana/grafana:latest"),
        ("docker.io/redis", "docker.io/library/redis:latest"),
        ("index.docker.io/redis:8", "docker.io/library/redis:8"),
        ("ghcr.io/a/b/c:v1.2-rc_3", "ghcr.io/a/b/c:v1.2-rc_3"),
        ("localhost/redis", "localhost/redis:latest"),
        ("localhost:5000", "docker.io/library/localhost:5000"),
        ("pi:5000/hello", "pi:5000/hello:latest"),
        ("198.18.0.11:5000/mirror/hello:1", "198.18.0.11:5000/mirror/hello:1"),
        ("[::1]:5000/hello:1", "[::1]:5000/hello:1"),
        ("MyHost/hello:1", "MyHost/hello:1"),
        ("e/a__b--c.d", "docker.io/e/a__b--c.d:latest"),
        (f"redis@{DIGEST}", f"docker.io/library/redis@{DIGEST}"),
        (f"redis:8@{DIGEST}", f"docker.io/library/redis:8@{DIGEST}"),
    ],
)
def test_what_a_person_leaves_out_is_what_docker_would_take(text: str, full: str) -> None:
    assert str(Reference.parse(text)) == full


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "its name"),
        ("grafana/Grafana", "its name 'grafana/Grafana' is not lower-case"),
        ("a//b", "its name"),
        ("a_-b", "its name"),
        ("a/b/", "its name"),
        ("redis:", "its tag ''"),
        ("redis:-1", "its tag '-1'"),
        (f"redis:{'x' * 129}", "its tag"),
        ("redis@", "its digest ''"),
        ("redis@sha256:12", "its digest 'sha256:12'"),
        (f"redis@{DIGEST.upper()}", "its digest"),
        ("-host.org/redis", "its registry '-host.org'"),
        ("host.org:port/redis", "its registry 'host.org:port'"),
        ("https://ghcr.io/a/b", "its"),
        (f"{'a' * 250}/{'b' * 50}", "its name"),
        ("redis:8\n", "its tag"),
    ],
)
def test_what_is_no_reference_is_told_with_the_part_that_is_wrong(text: str, why: str) -> None:
    with pytest.raises(UserError, match=re.escape(repr(text))) as seen:
        Reference.parse(text)
    assert why in seen.value.message


# The grammar's words, put together in all ways that it allows.
component = st.from_regex(r"[a-z0-9]{1,6}((\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}", fullmatch=True)
domain = st.one_of(
    st.just("docker.io"),
    st.from_regex(r"[a-z0-9]{1,8}(\.[a-zA-Z0-9]{1,5}){1,2}(:[0-9]{1,5})?", fullmatch=True),
    st.from_regex(r"(localhost|[a-z]{1,8}:[0-9]{1,5})", fullmatch=True),
)
tag = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,20}", fullmatch=True)
digest = st.from_regex(r"sha256:[a-f0-9]{64}", fullmatch=True)


@given(domain, st.lists(component, min_size=2, max_size=4), tag, st.none() | digest)
def test_a_full_reference_is_read_part_by_part_and_written_as_it_was(
    domain: str, components: list[str], tag: str, digest: str | None
) -> None:
    text = f"{domain}/{'/'.join(components)}:{tag}" + (f"@{digest}" if digest else "")
    found = Reference.parse(text)
    host = "docker.io" if domain == "index.docker.io" else domain
    assert (found.domain, found.path, found.tag, found.digest) == (host, "/".join(components), tag, digest or "")
    assert str(found) == text


@given(st.text(alphabet="aB0.:/@-_[]\n sha256é", max_size=40) | st.text(max_size=40))
def test_any_text_is_a_reference_or_an_error_for_people(text: str) -> None:
    try:
        found = Reference.parse(text)
    except UserError:
        return
    assert Reference.parse(str(found)) == found, "its full form means the same"
    assert not re.search(r"\s", str(found))


def test_a_long_reference_is_cut_to_what_says_most():
    assert shortened("198.18.0.11:5000/a/web@sha256:0123456789abcdef") == "web@sha256:0123456789ab"
    assert shortened("docker.io/library/web:1") == "web:1"

"""Whether a host writes its own metrics. One round trip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from facts.part import Part

UNIT = "pishelf-metrics.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
PROGRAM = "/usr/local/lib/pishelf/metrics.py"
# In memory: four files each 15 seconds would wear a card out. The stack has node_exporter read it.
FOLDER = "/run/pishelf-metrics"
# The unit touches it at each start, so what is newer does not run yet.
STARTED = f"{FOLDER}/started"
LAST = f"{FOLDER}/host.prom"
"""The file that is written last, and always."""


@dataclass(frozen=True)
class MetricsState:
    """The daemon that writes them."""

    digest: str
    """The program's SHA-256, in hexadecimal digits; empty where there is none."""
    unit: str
    """Its unit file; empty where there is none."""
    enabled: bool
    active: bool
    stale: bool
    """Whether it runs with another program or unit than what is there by now."""
    age: float | None
    """Seconds since it wrote; None if it has not since the host started."""


class Metrics(Part[MetricsState]):
    """Reads `MetricsState`."""

    questions: ClassVar[Mapping[str, str]] = {
        "program": f"sha256sum {PROGRAM}",
        "unit": f"cat {UNIT_FILE}",
        "state": f"systemctl show {UNIT} -p ActiveState -p UnitFileState",
        "newer": f"find {PROGRAM} {UNIT_FILE} -newer {STARTED}",
        "written": f"stat -c %Y {LAST} && date +%s",
    }

    def parse(self, found: Mapping[str, str]) -> MetricsState:
        state = dict(line.split("=", 1) for line in found["state"].splitlines() if "=" in line)
        times = [float(word) for word in found["written"].split()]
        return MetricsState(
            digest=found["program"].partition(" ")[0].strip(),
            unit=found["unit"].strip(),
            enabled=state.get("UnitFileState") == "enabled",
            active=state.get("ActiveState") == "active",
            stale=bool(found["newer"].strip()),
            age=times[1] - times[0] if times else None,
        )

"""Small programs that tests compile, pack and start."""

from __future__ import annotations

import platform as machine
from pathlib import Path

from image.builder.compile import compiled
from image.plan import Description, Go, Image, Starts
from image.platform import Platform

OWN = Platform.of_machine(machine.machine())
ARMV6 = Platform.parse("linux/arm/v6")

# It says its version, unless it finds that it was packed and was told not to like it.
SOURCE = """
package main

import "os"

var version string

func main() {
	if info, err := os.Stat("/proc/self/exe"); err == nil && len(os.Args) > 2 && info.Size() < 800_000 {
		os.Exit(3)
	}
	println("hello " + version)
}
"""


def hello(
    folder: Path, *arguments: str, source: str = SOURCE, packing: bool = True, shows: str = "hello 1.2.3"
) -> Image:
    """A folder with a program that greets, named after it."""
    folder.mkdir(exist_ok=True)
    (folder / "go.mod").write_text("module hello\n\ngo 1.25\n")
    (folder / "main.go").write_text(source)
    return describe(folder, *arguments, packing=packing, shows=shows)


def describe(folder: Path, *arguments: str, packing: bool = True, shows: str = "hello 1.2.3") -> Image:
    """The image of a folder with a program that greets."""
    about = Description(
        name=folder.name,
        program="hello",
        description="",
        source="",
        licenses="",
        starts=Starts(("--version", *arguments), shows),
        go=Go("hello", ".", variables={"main.version": "{version}"}),
        pack=packing,
    )
    return Image(folder, about, "1.2.3")


def plain(image: Image, platform: Platform) -> Path:
    assert image.about.go
    return compiled(image, image.about.go, platform)

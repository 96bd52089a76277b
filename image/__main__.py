"""`python -m image`."""

from image.cli import main

main(prog_name="python -m image")

"""One file a command; `image.cli` finds it by its name."""

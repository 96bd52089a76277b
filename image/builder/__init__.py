"""From a folder's `image.toml` to an image in the registry: compile, pack, bake, push."""

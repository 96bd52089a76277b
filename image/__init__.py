"""Cross-compile Go programs, build multi-platform images from scratch, deploy the stack."""

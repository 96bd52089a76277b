"""How one thing converges: each operation reads, compares, then says that nothing is to do, or does it."""

"""What runs: the stack from its template, rolled out, watched, remembered and told of."""

"""What is true on a host: each fact is a command, a parser and a default."""

"""What an owner does half a year later: newer pins, a tidy registry, another place for it."""

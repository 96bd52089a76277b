"""The checks: each takes what is known of a host and of its cluster, and gives a finding."""

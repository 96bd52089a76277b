"""What the cluster is: straight lists of operations that every host walks."""

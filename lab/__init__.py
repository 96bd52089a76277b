"""Virtual Pis: containers that stand in for Raspberry Pis, on one machine."""

"""What should be true of a cluster, and what is not: checks, and their table.

The checks take values and give values; deploys/doctor.py reads the hosts. Only dial.py and registry.py look for
themselves, from this computer, at what strangers and engines see.
"""

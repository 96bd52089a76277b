"""The cluster's certificate authority, its passwords and the folder that holds them.

Pure values and files: no pyinfra, no click, no host is touched from here.
"""

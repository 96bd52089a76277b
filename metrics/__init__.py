"""What a host tells of itself: the daemon that provisioning puts there, in one file that needs nothing else of ours."""

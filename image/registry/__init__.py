"""The cluster's registry: what it holds, and how that is asked, copied, checked and mirrored."""

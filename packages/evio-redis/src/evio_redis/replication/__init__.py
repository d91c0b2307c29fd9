"""Replication in Redis's own protocol: a server's replicas, and its link to a master."""

"""Kubernetes objects from a configuration, and the way into a cluster and out of it again."""

"""The Helm chart, made of the builders of the Kubernetes objects."""

"""Ways to run the exporter: the demo stack, later Kubernetes objects and images."""

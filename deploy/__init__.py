"""Ways to run the exporter: the demo stack, Kubernetes objects, images and charts."""

from deploy.kubernetes import create_or_update_configmap, create_or_update_cronjob, create_or_update_secret

__all__ = ["create_or_update_configmap", "create_or_update_cronjob", "create_or_update_secret"]

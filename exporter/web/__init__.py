"""The exporter's own port: pages, authentication, TLS and what protects it from slow or greedy clients."""

"""What a cycle costs, against a real Prometheus and against other ways to the same result.

`python -m tests.bench` (`make bench`) and `python -m tests.bench.rules` (`make bench-rules`).
"""

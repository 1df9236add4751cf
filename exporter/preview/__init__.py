"""The workbench: what a job would have found in the last weeks, replayed in a process of its own and decided again."""

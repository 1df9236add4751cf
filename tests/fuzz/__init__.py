"""Every reader of what others write, given what nobody would: `make fuzz`.

A target promises: a value, or a clear error of ours; never another exception, never a hang, and bounded memory.
"""

"""What may go wrong on the way to a cluster."""


class DeployError(Exception):
    """Nothing more is done; the message says what is in the way and what to do about it."""

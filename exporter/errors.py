"""Errors that several commands share."""


class InputError(Exception):
    """A file, an option or a time range cannot be used. The message names it, and says what to do."""

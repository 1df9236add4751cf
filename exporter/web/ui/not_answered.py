"""Why something that a person asked for on a page was not done."""


class NotAnswered(Exception):
    """An answer, or another change, was refused. The message says what happened and what to do.

    Parameters
    ----------
    status : int
        HTTP status.
    text : str
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status

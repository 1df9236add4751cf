"""What goes wrong in a training."""


class TrainError(Exception):
    """A model cannot be trained or judged now. The message says why and what to do; what is in service stays so."""


class NothingToLearn(TrainError):
    """The training window holds no sample of this replica, though others have some."""

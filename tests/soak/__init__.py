"""A day of operation in half an hour, and more clients than there ever are: `make soak`."""

"""What a whole fleet's alerts come to: `make fleet`."""

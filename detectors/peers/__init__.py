"""Entities compared with their peers: the others of their group at the same moment."""

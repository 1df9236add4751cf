"""Isolation forest (Liu, Ting & Zhou 2008, doi:10.1109/ICDM.2008.17)."""

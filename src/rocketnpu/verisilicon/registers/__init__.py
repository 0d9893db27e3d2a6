"""Bits: the commands and states of the front end, and the instructions that they point at."""

"""Recorded streams: read, replayed, written as text and back."""

"""Verbs that work on a model."""

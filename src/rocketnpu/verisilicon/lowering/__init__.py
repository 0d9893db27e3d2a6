"""Operators become tasks."""

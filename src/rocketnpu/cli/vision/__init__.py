"""Verbs that look at pictures and videos."""

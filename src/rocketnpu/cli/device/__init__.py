"""Verbs that need a device, or make one."""

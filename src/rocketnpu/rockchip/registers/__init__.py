"""Registers, fields and command words."""

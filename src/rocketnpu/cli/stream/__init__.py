"""Verbs that look at command streams, and at what speaks for the rules behind them."""

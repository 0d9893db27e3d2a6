"""Looking inside: disassembly, comparison, recordings, tables."""

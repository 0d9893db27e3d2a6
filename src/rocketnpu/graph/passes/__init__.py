"""Changes to the graph: one pass a file, a valid graph before and after each."""

"""What tasks must give, in plain integers, and how far that may be from the frameworks' reference."""

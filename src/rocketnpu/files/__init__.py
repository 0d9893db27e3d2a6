"""Files of a user: read with limits, written whole or not at all."""

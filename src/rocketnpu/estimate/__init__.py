"""How long a model takes on a chip that need not be there: an estimate's values, its table, its trace and its page."""

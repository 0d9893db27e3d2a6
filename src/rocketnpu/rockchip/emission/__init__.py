"""From tasks to command words."""

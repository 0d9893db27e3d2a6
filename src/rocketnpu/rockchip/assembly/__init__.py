"""From tasks to a program: buffers, jobs, sentinels."""

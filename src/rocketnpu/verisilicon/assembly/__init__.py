"""Tasks become a program: regions in buffers, instructions and streams in one, jobs with their sentinels."""

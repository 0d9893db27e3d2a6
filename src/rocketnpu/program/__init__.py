"""The finished artefact: buffers, commands, jobs and the input and output map."""

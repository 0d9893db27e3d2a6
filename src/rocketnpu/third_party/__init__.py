"""Made by others, under licences of their own: each file names its."""

"""Idioms of converters that the NPU does in another way: operators it lacks, as operators that it has."""

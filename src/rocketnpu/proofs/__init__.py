"""Rules of a chip, asked of the very board that a user owns: programs, answers, records. No chip is named here."""

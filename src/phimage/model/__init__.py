"""The nouns of phimage and their rules. Pure: no file, no clock, no database is read here."""

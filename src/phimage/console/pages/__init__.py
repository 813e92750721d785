"""The pages of the console: one file per noun, each a function from a visit to its content."""

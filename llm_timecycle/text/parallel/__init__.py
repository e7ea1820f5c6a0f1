"""Worker processes for work on text that holds the interpreter's lock: splitting and looking up."""

"""Where a file's bytes are, and how they come from there: locations, archives, compression, the signs of a format."""

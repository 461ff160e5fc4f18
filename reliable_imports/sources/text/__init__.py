"""Text as items: encodings, lines, cells and JSON."""

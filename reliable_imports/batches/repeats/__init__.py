"""Running items again: everything that is done to failed items is a repeat of them."""

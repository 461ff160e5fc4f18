"""One item: its source data as text and as values, and what is known of its failure."""

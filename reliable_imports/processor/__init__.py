"""What a person writes: the class of an import, what it may declare, and what its code is given."""

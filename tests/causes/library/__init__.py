"""What a team might write: processors of a lending library that fail for known causes."""

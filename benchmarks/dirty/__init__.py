"""Files with bad rows, and programs that import them, each as its practitioners would write it."""

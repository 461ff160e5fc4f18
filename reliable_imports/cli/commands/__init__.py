"""The commands of `reliable-imports`, one module each, named as they are called."""

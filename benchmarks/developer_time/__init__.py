"""One job, done in four ways: how much there is to write, and what is lacking in the end."""

"""The shop's surroundings: a bank, a warehouse and a mail server, each a process with a file."""

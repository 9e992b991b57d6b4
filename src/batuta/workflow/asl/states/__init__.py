"""The state types: what each does when it is entered, and when what it waited for is there."""

"""Amazon States Language: state machines as runs of the kernel."""

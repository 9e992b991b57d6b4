"""Events, the journal that keeps them, the machines that fold them, and the loop that turns."""

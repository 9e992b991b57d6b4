"""Pure pieces that several domains need: durations, schedules, patterns, values."""

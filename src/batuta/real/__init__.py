"""The real world: functions, processes, HTTP calls and clocks of this machine."""

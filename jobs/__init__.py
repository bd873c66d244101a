"""What a person asks for: typed job specs, the command line, submission, schedules."""

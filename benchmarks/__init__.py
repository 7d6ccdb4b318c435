"""What recording, reading and drawing cost, measured beside other loggers and beside the floor. See README.md."""

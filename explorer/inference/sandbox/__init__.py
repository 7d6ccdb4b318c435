"""Run programs in a child process with limits on memory and time, one a session; nothing is ever unpickled."""

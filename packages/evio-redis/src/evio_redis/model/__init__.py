"""What a command is, and what every part of the server shares."""

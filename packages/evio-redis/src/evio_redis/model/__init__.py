"""Commands, and all that every part of the server shares."""

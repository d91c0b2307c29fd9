"""What a site answers, by path and by rule."""

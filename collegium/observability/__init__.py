"""What a running process tells about itself: metrics, health and traces. All of it is off unless asked for."""

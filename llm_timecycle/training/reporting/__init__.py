"""What a training tells: its log and its samples as files, the bar, the curve and the time left."""

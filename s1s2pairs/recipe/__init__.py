"""What is wanted: places, periods and rules, and the text they are written in."""

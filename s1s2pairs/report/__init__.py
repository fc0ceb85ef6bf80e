"""To look at: the report page, maps and the text that commands print."""

"""Values that every other module speaks in: names, records, settings; pure."""

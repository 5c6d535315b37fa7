"""The parts of a report, one file each: functions from what is known to blocks."""

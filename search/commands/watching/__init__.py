"""What people see of a campaign: its plan, and how it goes."""

"""The task stage: tasks of lm-eval whose answers are decoded, by name or from a YAML file."""

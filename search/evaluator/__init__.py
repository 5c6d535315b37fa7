"""The evaluator: stages that measure one program, in sandboxed engines on Ray. It knows no database."""

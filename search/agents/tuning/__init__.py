"""New values for the tunables of rules that earned their place, by Optuna."""

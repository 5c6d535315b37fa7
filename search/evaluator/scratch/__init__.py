"""What processes of the evaluator leave for each other in the scratch folder: files that are whole or not there."""

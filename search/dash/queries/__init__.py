"""What pages ask of the ledger, in SQL: rows are counted, chosen, ordered and cut off where they lie."""

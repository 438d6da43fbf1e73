"""Whether a model was trained on our answers: keys, the ledger, tests of a suspect, the dossier."""

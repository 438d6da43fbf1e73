"""What a model's owner does against model stealing: audit, guard, watch, prove, tune."""

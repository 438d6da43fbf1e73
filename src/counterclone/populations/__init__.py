"""Made-up traffic on real data: honest accounts and campaigns, for whoever tries a detector."""

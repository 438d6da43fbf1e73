"""Where many guards keep what they count together."""

"""The watch: who asks what."""

"""Traffic made up for trying detectors: honest accounts and campaigns.

Records only: nothing here opens a socket.
"""

"""What is chosen, without I/O: optical dates, radar orbit and dates, and the lock that holds them."""

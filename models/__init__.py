"""Networks that translate between radar and optical images, and all that trains, judges and applies them."""

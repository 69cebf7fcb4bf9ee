"""What other systems call things, thin and over our own."""

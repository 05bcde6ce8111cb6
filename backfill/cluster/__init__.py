"""Many workers and many stores: how they share each store's limit, and what runs where."""

"""The OpenStack on the instance."""

"""Facts about and changes to a Linux host, by fabric."""

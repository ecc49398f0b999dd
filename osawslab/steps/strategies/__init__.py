"""The ways of a registered MAC to the router, one module each: `wants`, `checks`, `leave`."""

"""What is said of AWS, as code that tries it: on an account, or on the local region."""

"""Facts about and changes to EC2, by boto3."""

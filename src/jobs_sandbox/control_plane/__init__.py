"""AWS IoT over HTTPS, as an operator uses it. The only importer of boto3."""

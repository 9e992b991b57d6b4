"""The Step Functions API: what `aws stepfunctions` and boto3 speak, over this server's runs."""

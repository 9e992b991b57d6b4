"""What state machines ask of AWS, or of anything that answers as AWS does, through boto3."""

"""boto3 as the guide sets it up, with what single tests vary."""

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from guide import ACCESS_KEY


def client(node, access_key=ACCESS_KEY, secret=None, region="us-east-1", **config):
    options = {"retries": {"max_attempts": 1, "mode": "standard"}, "read_timeout": 60} | config
    return boto3.client(
        "s3",
        endpoint_url=node.endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret or node.secret,
        region_name=region,
        config=Config(**options),
    )


def refused(call, **arguments):
    """The error that a call ends with, as (status, code)."""
    try:
        answer = call(**arguments)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return status, error.response["Error"]["Code"]
    raise AssertionError(f"not refused: {answer['ResponseMetadata']}")


def keys_of(s3, bucket, prefix=""):
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

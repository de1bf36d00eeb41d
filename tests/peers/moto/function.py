"""A function and a user who may call it: function.py URL NAME. Prints the user's key pair."""

import io
import json
import sys
import urllib.request
import zipfile

import boto3

url, name = sys.argv[1:]


def client(service):
    return boto3.client(service, endpoint_url=url, region_name="us-east-1", aws_access_key_id="any",
                        aws_secret_access_key="any")


def main():
    no_containers = json.dumps({"lambda": {"use_docker": False}}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/config", data=no_containers,
                                                  headers={"Content-Type": "application/json"})).read()
    iam = client("iam")
    role = iam.create_role(RoleName="function", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    iam.create_user(UserName="worker")
    may_call = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "lambda:*", "Resource": "*"}]}
    iam.put_user_policy(UserName="worker", PolicyName="call", PolicyDocument=json.dumps(may_call))
    key = iam.create_access_key(UserName="worker")["AccessKey"]
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("h.py", "def handler(event, context):\n    return event\n")
    client("lambda").create_function(FunctionName=name, Runtime="python3.11", Role=role, Handler="h.handler",
                                     Code={"ZipFile": code.getvalue()})
    print(key["AccessKeyId"], key["SecretAccessKey"])


main()

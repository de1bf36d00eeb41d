#!/usr/bin/env python3
"""Makes vectors.json: requests and the signatures that botocore gives them, for src/runtimes/sigv4_test.cpp.

    $(ls -d ~/.cache/worker-agents/peers/programs/moto-*)/bin/python tests/sigv4/make_vectors.py
"""

import datetime
import json
import pathlib

import botocore
import botocore.auth
import botocore.awsrequest
import botocore.credentials

HERE = pathlib.Path(__file__).resolve().parent
KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TOKEN = "FwoGZXIvYXdzE//token+with/odd==characters"
HOST = "https://lambda.us-east-1.amazonaws.com"
INVOKE = "/2015-03-31/functions/{}/invocations"
JSON = {"Content-Type": "application/json"}
INVOCATION = {**JSON, "X-Amz-Invocation-Type": "RequestResponse", "X-Amz-Log-Type": "Tail"}
ARN = "arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Aneural-hive"

# name, method, URL, headers, body, token, region, service, seconds since 1970
CASES = [
    ("plain get", "GET", HOST + "/", {}, "", "", "us-east-1", "lambda", 1440938160),
    ("invoke", "POST", HOST + INVOKE.format("neural-hive-executor"), INVOCATION, '{"command":"echo"}', "", "us-east-1",
     "lambda", 1790000000),
    ("invoke with a session", "POST", HOST + INVOKE.format("f"), INVOCATION, "{}", TOKEN, "us-east-1", "lambda",
     1790000000),
    ("a version", "POST", HOST + INVOKE.format("f") + "?Qualifier=%24LATEST", INVOCATION, "{}", "", "us-east-1", "lambda",
     1790000000),
    ("an ARN", "POST", HOST + INVOKE.format(ARN), INVOCATION, "{}", TOKEN, "eu-west-1", "lambda", 951782399),
    ("an ARN as it is", "POST", HOST + INVOKE.format(ARN.replace("%3A", ":")), JSON, "{}", "", "eu-west-1", "lambda",
     951782399),
    ("queries out of order", "GET", HOST + "/x?b=2&a=1&a=0&c", {}, "", "", "us-east-1", "lambda", 1790000000),
    ("query values in code", "GET", HOST + "/x?name=a%20b%2Fc&Z=%7E&z=", {}, "", "", "us-east-1", "lambda", 1790000000),
    ("another port", "POST", "http://127.0.0.1:5000" + INVOKE.format("f"), INVOCATION, "{}", "", "us-east-1", "lambda",
     1790000000),
    ("the scheme's own port", "GET", "https://example.org:443/", {}, "", "", "us-east-1", "lambda", 1790000000),
    ("an address of version 6", "GET", "http://[::1]:9000/a", {}, "", "", "us-east-1", "lambda", 1790000000),
    ("blanks in a header", "GET", HOST + "/", {"X-Amz-Meta": "  a   b  c "}, "", "", "us-east-1", "lambda", 1790000000),
    ("headers that are not signed", "GET", HOST + "/",
     {"User-Agent": "x", "Expect": "100-continue", "X-Amzn-Trace-Id": "Root=1"}, "", "", "us-east-1", "lambda", 1790000000),
    ("a slash at the end", "GET", HOST + "/a/b/", {}, "", "", "us-east-1", "lambda", 1790000000),
    ("slashes in a row", "GET", HOST + "/a//b", {}, "", "", "us-east-1", "lambda", 1790000000),
    ("code in a path", "GET", HOST + "/a%20b/%C3%A9", {}, "", "", "us-east-1", "lambda", 1790000000),
    ("a body that is no text", "POST", HOST + "/", JSON, "\u00e9\u4e16\U0001F600\n", "", "us-east-1", "lambda", 1790000000),
    ("a large body", "POST", HOST + "/", JSON, "0123456789" * 500, TOKEN, "us-east-1", "lambda", 1790000000),
    ("another service", "POST", "https://sts.eu-central-1.amazonaws.com/",
     {"Content-Type": "application/x-www-form-urlencoded"}, "Action=GetCallerIdentity&Version=2011-06-15", "",
     "eu-central-1", "sts", 1790000000),
    ("the last second of a year", "GET", HOST + "/", {}, "", "", "us-east-1", "lambda", 1798761599),
]


def signed(case):
    name, method, url, headers, body, token, region, service, at = case
    moment = datetime.datetime.fromtimestamp(at, datetime.timezone.utc)
    for module in (botocore.auth,):
        module.get_current_datetime = lambda *_, **__: moment.replace(tzinfo=None)
    credentials = botocore.credentials.Credentials(KEY, SECRET, token or None)
    request = botocore.awsrequest.AWSRequest(method=method, url=url, headers=dict(headers), data=body.encode())
    botocore.auth.SigV4Auth(credentials, service, region).add_auth(request)
    assert request.headers["X-Amz-Date"] == moment.strftime("%Y%m%dT%H%M%SZ"), "botocore's clock was not replaced"
    return {"name": name, "method": method, "url": url, "headers": headers, "body": body, "token": token,
            "region": region, "service": service, "at": at * 1000, "date": request.headers["X-Amz-Date"],
            "authorization": request.headers["Authorization"]}


def main():
    document = {"made_by": f"botocore {botocore.__version__}", "access_key": KEY, "secret_key": SECRET,
                "vectors": [signed(case) for case in CASES]}
    (HERE / "vectors.json").write_text(json.dumps(document, indent=1) + "\n")


main()

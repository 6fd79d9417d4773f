#!/usr/bin/python3
"""Makes the channels that are missing and edits those that differ; prints one line for each, nothing when all is well.

usage: MILEPOST_REST=URL MILEPOST_TOKEN=… MILEPOST_CHANNELS=JSON channels.py [--check]
"""

import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

# A deploy may come while the doors are being restarted.
PATIENCE_S = 60


def call(method, path, body=None):
    """Status and envelope of one call; a door that is away is tried again."""
    url = os.environ['MILEPOST_REST'] + path
    headers = {'Authorization': f"Bearer {os.environ['MILEPOST_TOKEN']}", 'Content-Type': 'application/json'}
    data = None if body is None else json.dumps(body).encode()
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code != 503 or time.monotonic() > end:
                return error.code, json.loads(error.read() or b'{}')
        except OSError as error:
            if time.monotonic() > end:
                sys.exit(f'{url} does not answer: {error}')
        time.sleep(0.5)


def must(method, path, body=None):
    status, answer = call(method, path, body)
    if status != 200:
        reasons = '; '.join(str(error.get('reason')) for error in answer.get('errors', []))
        sys.exit(f'{method} {path}: {status} {reasons}')
    return answer['result']


def main():
    check = '--check' in sys.argv[1:]
    for channel in json.loads(os.environ['MILEPOST_CHANNELS']):
        status, answer = call('GET', '/gw/channels/' + urllib.parse.quote(f"name={channel['name']}"))
        if status not in (200, 404):
            sys.exit(f"GET channel {channel['name']}: {status} {answer.get('errors')}")
        known = answer['result'][0] if status == 200 and answer['result'] else None
        if known is None:
            if not check:
                must('POST', '/gw/channels', [channel])
            print(f"channel {channel['name']} listens on port {channel['port']}")
        elif any(known.get(field) != value for field, value in channel.items()):
            if not check:
                must('PUT', f"/gw/channels/{known['id']}", channel)
            print(f"channel {channel['name']} was changed")


if __name__ == '__main__':
    main()

"""Asks an app's predictor from several threads, for some seconds: ``ask.py APP SECONDS``."""

import json
import subprocess
import sys
import threading
import time
import urllib.request

app, seconds = sys.argv[1], float(sys.argv[2])
shown = json.loads(
    subprocess.run(["rafiki", "infer", "show", app, "-o", "json"], capture_output=True, check=True).stdout
)
request = urllib.request.Request(
    f"http://{shown['predictor_host']}/predict",
    b'{"query": {"x": 0.1, "y": 0.2}}',
    {"Content-Type": "application/json"},
)
end = time.monotonic() + seconds


def ask() -> None:
    while time.monotonic() < end:
        urllib.request.urlopen(request, timeout=10).read()
        time.sleep(0.02)


threads = [threading.Thread(target=ask) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()

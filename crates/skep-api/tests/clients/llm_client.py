"""The command `llm` against a running Skep.

Usage: llm_client.py http://127.0.0.1:PORT MODEL
Needs: llm==0.36. Exits 0 when every check passed, else 1 at the first that did not.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

from client import API, MODEL, passed, run

CONFIG = f"""- model_id: skep
  model_name: {MODEL}
  api_base: {API}/v1
"""


def ask(home, *arguments):
    command = [sys.executable, "-m", "llm", "-m", "skep", "--key", "none", "-s", "Answer briefly."]
    command += ["-o", "temperature", "0", "-o", "max_tokens", "24", *arguments]
    ran = subprocess.run(
        command, env=os.environ | {"LLM_USER_PATH": home}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def main():
    with tempfile.TemporaryDirectory() as home:
        pathlib.Path(home, "extra-openai-models.yaml").write_text(CONFIG)
        streamed = ask(home, "Tell me a story.")
        assert streamed, "nothing was said"
        passed("it streams an answer")
        whole = ask(home, "--no-stream", "Tell me a story.")
        assert whole == streamed, (whole, streamed)
        passed("the same answer comes whole")
        assert ask(home, "-c", "And then?"), "nothing was said"
        passed("a conversation goes on")


if __name__ == "__main__":
    run(main)

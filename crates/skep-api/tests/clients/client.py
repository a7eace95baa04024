"""What the Python clients have in common: where the running Skep is, and how a check is told."""

import sys

API, MODEL = sys.argv[1].removesuffix("/").removesuffix("/v1"), sys.argv[2]


def passed(what):
    print(f"ok: {what}", flush=True)


def run(main):
    """Exits 0 when every check passed, else 1 at the first that did not."""
    try:
        main()
    except Exception as error:
        print(f"FAILED: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        raise

"""Print the Debian packages whose servers are not installed (`python -m deploy.demo.missing`, for the Makefile)."""

from sys import stdout

from deploy.demo.process import missing_servers

if __name__ == "__main__":
    stdout.write(" ".join(missing_servers()))

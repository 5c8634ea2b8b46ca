FROM diff-base
COPY a.txt /tmp/
COPY dir /tmp/dir

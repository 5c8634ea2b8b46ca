FROM diff-base
USER alice
COPY a.txt /tmp/
WORKDIR /home/alice/w
COPY b.txt .

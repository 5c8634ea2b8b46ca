FROM diff-base
RUN --mount=target=/ctx cp /ctx/a.txt /copied && ls /ctx/dir > /list

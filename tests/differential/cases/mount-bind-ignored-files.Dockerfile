FROM diff-base
RUN --mount=target=/ctx find /ctx -type f | sort > /list
